"""What the object storage can do, found out by trying: S3 servers differ in what they leave out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from common.errors import DownloadError, FileChanged
from common.object_storage import BadChecksum, ObjectStorage, UploadedPart
from worker.archive.planning.layout import MIB
from worker.archive.zip_format.crc32 import combine, crc32

LEAST = 5 * MIB
#: A source of a range must be larger than the least part.
SOURCE_SIZE = LEAST + 1

T = TypeVar("T")


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
    #: Takes parts of different sizes in one upload, which Cloudflare R2 does not.
    mixed_parts: bool = False

    @property
    def can_compose(self) -> bool:
        """A copy that might be of another version could spoil an archive without a sign."""
        return self.range_copy and self.copy_precondition and self.mixed_parts


def probe(store: ObjectStorage, bucket: str) -> Capabilities:
    """Try all of it on an object of 5 MiB in ``bucket``; leaves nothing behind.

    Raises DownloadError if the storage cannot even take an object.
    """
    trial = _Trial(store, bucket)
    try:
        return trial.capabilities()
    finally:
        trial.tidy()


class _Trial:
    def __init__(self, store: ObjectStorage, bucket: str) -> None:
        self._store, self._bucket = store, bucket
        self._mark = uuid.uuid4().hex
        self._source, self._target = f"probe/{self._mark}/source", f"probe/{self._mark}/target"
        self._content = memoryview(bytes(SOURCE_SIZE))
        self._upload_id = ""

    def capabilities(self) -> Capabilities:
        store, bucket = self._store, self._bucket
        etag = store.put_object(bucket, self._source, self._content, crc32=crc32(self._content))
        self._upload_id = store.create_multipart_upload(bucket, self._target)
        copied = _tried(lambda: self._copy(1, LEAST, etag))
        first = copied or self._put(1, LEAST)
        end = self._put(2, 3)
        value = crc32(self._content[:LEAST])
        whole = combine(value, crc32(self._content[:3]), 3)
        return Capabilities(
            range_copy=copied is not None,
            copy_checksum=copied is not None and copied.crc32 == value,
            copy_precondition=copied is not None
            and _refused(lambda: self._copy(1, LEAST, f'"{self._mark}"'), FileChanged),
            part_checksum=_refused(lambda: self._put(2, 3, wrong=True), BadChecksum),
            whole_checksum=_refused(lambda: self._complete([first, end], whole ^ 1), BadChecksum),
            mixed_parts=self._takes_mixed_parts(etag if copied else None),
        )

    def _takes_mixed_parts(self, etag: str | None) -> bool:
        """In an upload of its own: the other may have been completed against expectation."""
        self._store.abort_multipart_upload(self._bucket, self._target, self._upload_id)
        self._upload_id = self._store.create_multipart_upload(self._bucket, self._target)
        sizes = (LEAST, SOURCE_SIZE)
        parts = [
            self._copy(number, size, etag) if etag else self._put(number, size)
            for number, size in enumerate(sizes, start=1)
        ]
        return _tried(lambda: self._complete([*parts, self._put(3, 3)], None)) is not None

    def tidy(self) -> None:
        if self._upload_id:
            self._store.abort_multipart_upload(self._bucket, self._target, self._upload_id)
        self._store.delete_objects(self._bucket, [self._source, self._target])

    def _copy(self, number: int, size: int, if_match: str) -> UploadedPart:
        return self._store.upload_part_copy(
            self._bucket, self._target, self._upload_id, number,
            source=(self._bucket, self._source), start=0, length=size, if_match=if_match,
        )  # fmt: skip

    def _put(self, number: int, size: int, *, wrong: bool = False) -> UploadedPart:
        body = self._content[:size]
        return self._store.upload_part(
            self._bucket, self._target, self._upload_id, number, body, crc32=crc32(body) ^ wrong
        )

    def _complete(self, parts: Sequence[UploadedPart], whole: int | None) -> str:
        return self._store.complete_multipart_upload(
            self._bucket, self._target, self._upload_id, parts, crc32=whole
        )


def _tried(call: Callable[[], T]) -> T | None:
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
