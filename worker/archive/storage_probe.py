"""Tests what the object storage supports: S3 implementations differ in what they leave out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from common.errors import DownloadError, FileChanged
from common.object_storage import BadChecksum, ObjectStorage, UploadedPart
from worker.archive.planning.layout import MIB
from worker.archive.zip_format.crc32 import combine, crc32

MIN_PART_SIZE = 5 * MIB
#: Ranges can only be copied from objects larger than the minimum part.
SOURCE_SIZE = MIN_PART_SIZE + 1

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """The features of S3 that the storage was seen to support."""

    #: Copies a range of an object as a part of an upload.
    range_copy: bool = False
    #: Returns the CRC32 of a copy. Otherwise copied ranges are read once for theirs.
    copy_checksum: bool = False
    #: Rejects a copy of an object that has been replaced (If-Match).
    copy_precondition: bool = False
    #: Rejects a part with a wrong CRC32.
    part_checksum: bool = False
    #: Rejects the completion of an upload with a wrong CRC32 of the whole object.
    whole_checksum: bool = False
    #: Accepts parts of different sizes in one upload, which Cloudflare R2 does not.
    mixed_parts: bool = False

    @property
    def can_compose(self) -> bool:
        """Return whether copies are safe: one of a replaced file would corrupt the archive."""
        return self.range_copy and self.copy_precondition and self.mixed_parts


def probe_storage(storage: ObjectStorage, bucket: str) -> Capabilities:
    """Test all features with an object of 5 MiB in ``bucket``, and delete it again.

    Raise DownloadError if the storage does not even accept an object.
    """
    probe = _Probe(storage, bucket)
    try:
        return probe.capabilities()
    finally:
        probe.clean_up()


class _Probe:
    """The objects and the upload that the tests use."""

    def __init__(self, storage: ObjectStorage, bucket: str) -> None:
        self._storage, self._bucket = storage, bucket
        self._id = uuid.uuid4().hex
        self._source, self._target = f"probe/{self._id}/source", f"probe/{self._id}/target"
        self._content = memoryview(bytes(SOURCE_SIZE))
        self._upload_id = ""

    def capabilities(self) -> Capabilities:
        storage, bucket = self._storage, self._bucket
        etag = storage.put_object(bucket, self._source, self._content, crc32=crc32(self._content))
        self._upload_id = storage.create_multipart_upload(bucket, self._target)
        copied = _try(lambda: self._copy(1, MIN_PART_SIZE, etag))
        first = copied or self._put(1, MIN_PART_SIZE)
        end = self._put(2, 3)
        value = crc32(self._content[:MIN_PART_SIZE])
        whole = combine(value, crc32(self._content[:3]), 3)
        return Capabilities(
            range_copy=copied is not None,
            copy_checksum=copied is not None and copied.crc32 == value,
            copy_precondition=copied is not None
            and _is_rejected(lambda: self._copy(1, MIN_PART_SIZE, f'"{self._id}"'), FileChanged),
            part_checksum=_is_rejected(lambda: self._put(2, 3, wrong=True), BadChecksum),
            whole_checksum=_is_rejected(
                lambda: self._complete([first, end], whole ^ 1), BadChecksum
            ),
            mixed_parts=self._accepts_mixed_parts(etag if copied else None),
        )

    def _accepts_mixed_parts(self, etag: str | None) -> bool:
        """Use another upload: the first one may have been completed in spite of its checksum."""
        self._storage.abort_multipart_upload(self._bucket, self._target, self._upload_id)
        self._upload_id = self._storage.create_multipart_upload(self._bucket, self._target)
        sizes = (MIN_PART_SIZE, SOURCE_SIZE)
        parts = [
            self._copy(number, size, etag) if etag else self._put(number, size)
            for number, size in enumerate(sizes, start=1)
        ]
        return _try(lambda: self._complete([*parts, self._put(3, 3)], None)) is not None

    def clean_up(self) -> None:
        if self._upload_id:
            self._storage.abort_multipart_upload(self._bucket, self._target, self._upload_id)
        self._storage.delete_objects(self._bucket, [self._source, self._target])

    def _copy(self, number: int, size: int, if_match: str) -> UploadedPart:
        return self._storage.upload_part_copy(
            self._bucket, self._target, self._upload_id, number,
            source=(self._bucket, self._source), start=0, length=size, if_match=if_match,
        )  # fmt: skip

    def _put(self, number: int, size: int, *, wrong: bool = False) -> UploadedPart:
        body = self._content[:size]
        return self._storage.upload_part(
            self._bucket, self._target, self._upload_id, number, body, crc32=crc32(body) ^ wrong
        )

    def _complete(self, parts: Sequence[UploadedPart], whole: int | None) -> str:
        return self._storage.complete_multipart_upload(
            self._bucket, self._target, self._upload_id, parts, crc32=whole
        )


def _try(call: Callable[[], T]) -> T | None:
    """Return the result of a call, or None if it fails."""
    try:
        return call()
    except DownloadError:
        return None


def _is_rejected(call: Callable[[], object], error: type[DownloadError]) -> bool:
    """Return whether a call fails with this error."""
    try:
        call()
    except error:
        return True
    except DownloadError:
        return False
    return False
