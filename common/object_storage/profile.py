"""The parts of the S3 API that a storage supports.

S3 implementations differ in what they leave out, and in what they accept and ignore. A worker tests
that (``worker/archive/storage_probe.py``), and ``ObjectStorage`` sends only what the storage is
known to accept. Until then the profile is that of AWS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageProfile:
    """What a storage supports; all fields are booleans, for ``/health`` and the job store."""

    #: Copies a range of an object as a part of an upload, and the bytes are right.
    range_copy: bool = True
    #: Returns the CRC32 of a copy. Otherwise copied ranges are read once for theirs.
    copy_checksum: bool = True
    #: Rejects a copy of an object that has been replaced (If-Match).
    copy_precondition: bool = True
    #: Accepts parts of different sizes in one upload, which Cloudflare R2 does not.
    mixed_parts: bool = True
    #: Completes uploads with the CRC32 of the whole object (FULL_OBJECT).
    full_object_crc32: bool = True
    #: Completes uploads with the CRC32s of the parts (COMPOSITE); used without FULL_OBJECT.
    composite_crc32: bool = True
    #: Accepts the CRC32 of an object in PutObject.
    put_crc32: bool = True
    #: Accepts x-amz-checksum-mode in HeadObject.
    head_checksum: bool = True
    #: Rejects a part with a wrong CRC32.
    part_checksum: bool = True
    #: Returns the CRC32 of a part that was uploaded without one. AWS requires it in the request.
    returns_part_crc32: bool = False
    #: Accepts parts whose CRC32 follows their bytes (aws-chunked), and rejects a wrong one.
    trailing_crc32: bool = True
    #: Rejects the completion of an upload with a wrong CRC32 of the whole object.
    whole_checksum: bool = True
    #: Rejects a wrong Content-MD5; used where wrong CRC32s are accepted.
    content_md5: bool = False
    #: Returns the ETag of the object when it completes an upload.
    complete_etag: bool = True
    #: Deletes several objects in one call.
    multi_delete: bool = True
    #: Lists multipart uploads.
    list_uploads: bool = True

    @property
    def can_compose(self) -> bool:
        """Return whether copies are safe: one of a replaced file would corrupt the archive."""
        return self.range_copy and self.copy_precondition and self.mixed_parts

    @property
    def can_stream_parts(self) -> bool:
        """Return whether parts can be uploaded before their CRC32s are known, and are verified."""
        return self.returns_part_crc32 or self.trailing_crc32

    @property
    def upload_crc32(self) -> bool:
        """Return whether parts have CRC32s."""
        return self.full_object_crc32 or self.composite_crc32

    def to_dict(self) -> dict[str, bool]:
        """Return the fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, bool]) -> Self | None:
        """Return the profile with these fields; None if another version wrote them."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**values) if set(values) == names else None
