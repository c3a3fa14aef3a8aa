"""What the object storage can do, found out by trying: S3 servers differ in what they leave out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import DownloadError, FileChanged
from common.storage import BadChecksum, ObjectStore, Part
from worker.archive.crc import combine, crc32
from worker.archive.layout import MIB

LEAST = 5 * MIB
#: A source of a range must be larger than the least part.
SOURCE_SIZE = LEAST + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """True where the storage was seen to do it."""

    #: Copies a range of an object as a part of an upload.
    range_copy: bool = False
    #: Tells the CRC32 of what it copied; without it copied ranges are read once for theirs.
    copy_checksum: bool = False
    #: Refuses to copy from an object that is another version by now (If-Match).
    copy_precondition: bool = False
    #: Refuses a part with a wrong CRC32.
    part_checksum: bool = False
    #: Refuses to complete an upload with a wrong CRC32 of the whole.
    whole_checksum: bool = False

    @property
    def can_compose(self) -> bool:
        """A copy that might be of another version could spoil an archive without a sign."""
        return self.range_copy and self.copy_precondition


def probe(store: ObjectStore, bucket: str) -> Capabilities:
    """Try all of it on an object of 5 MiB in ``bucket``; leaves nothing behind.

    Raises DownloadError if the storage cannot even take an object.
    """
    mark = uuid.uuid4().hex
    source, target = f"probe/{mark}/source", f"probe/{mark}/target"
    content = bytes(SOURCE_SIZE)
    etag = store.put(bucket, source, content, crc32=crc32(content))
    upload_id = store.create_upload(bucket, target)

    def copy(if_match: str) -> Part:
        return store.copy_part(
            bucket, target, upload_id, 1,
            source=(bucket, source), start=0, length=LEAST, if_match=if_match,
        )  # fmt: skip

    try:
        copied = _tried(lambda: copy(etag))
        if copied is None:
            return Capabilities()
        tail = store.put_part(bucket, target, upload_id, 2, b"end", crc32=crc32(b"end"))
        part = crc32(memoryview(content)[:LEAST])
        whole = combine(part, tail.crc32 or 0, 3)
        return Capabilities(
            range_copy=True,
            copy_checksum=copied.crc32 == part,
            copy_precondition=_refused(lambda: copy(f'"{mark}"'), FileChanged),
            part_checksum=_refused(
                lambda: store.put_part(bucket, target, upload_id, 2, b"end", crc32=1), BadChecksum
            ),
            whole_checksum=_refused(
                lambda: store.complete(bucket, target, upload_id, [copied, tail], crc32=whole ^ 1),
                BadChecksum,
            ),
        )
    finally:
        store.abort(bucket, target, upload_id)
        store.delete_many(bucket, [source, target])


def _tried(call: Callable[[], Part]) -> Part | None:
    try:
        return call()
    except DownloadError:
        return None


def _refused(call: Callable[[], object], error: type[DownloadError]) -> bool:
    try:
        call()
    except error:
        return True
    except DownloadError:
        return False
    return False
