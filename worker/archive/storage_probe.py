"""Tests what the object storage supports, with exactly the calls that a build makes.

S3 implementations differ in what they leave out, and in what they accept and ignore. Only a storage
that cannot write, read and list objects, or not even complete a plain multipart upload, cannot be
used; then the error says so.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TypeVar

import structlog

from common.errors import DownloadError, FileChanged, NetworkError, StorageError
from common.object_storage import (
    BLOCK_SIZE,
    BadChecksum,
    ObjectStorage,
    StorageProfile,
    UploadedPart,
)
from common.object_storage.errors import StorageBusy
from worker.archive.planning.layout import MIB
from worker.archive.zip_format.crc32 import crc32, join

MIN_PART_SIZE = 5 * MIB
#: Ranges can only be copied from objects larger than the minimum part.
SOURCE_SIZE = MIN_PART_SIZE + 1
LAST_PART_SIZE = 3
#: More than one block.
STREAM_SIZE = BLOCK_SIZE + 1
WRONG_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: Errors of a storage that is unavailable, or of a call that it cannot serve at all.
_TEMPORARY = (NetworkError, StorageBusy)


class StorageUnsupported(StorageError):
    """The object storage lacks a part of S3 that archives need."""


def probe_storage(
    storage: ObjectStorage, bucket: str, *, with_copies: bool = True
) -> StorageProfile:
    """Test all features with an object of 5 MiB in ``bucket``, and delete it again.

    Raise StorageUnsupported if the storage lacks something without which no archive can be built,
    and other DownloadErrors if it is unavailable or denies access.
    """
    probe = _Probe(storage, bucket)
    try:
        probe.check_objects()
        probe.check_deletion()
        probe.check_listing()
        probe.check_uploads(with_copies=with_copies)
        return probe.profile
    finally:
        probe.clean_up()


class _Stream:
    """Content that is sent in blocks, with the checksum or a wrong one behind it."""

    def __init__(self, content: memoryview, *, wrong: bool) -> None:
        self._content = content
        self.crc32 = crc32(content) ^ wrong

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Generator[memoryview]:
        for start in range(0, len(self), BLOCK_SIZE):
            yield self._content[start : start + BLOCK_SIZE]


class _Probe:
    """The objects and uploads of one probe, and what it has found so far."""

    def __init__(self, storage: ObjectStorage, bucket: str) -> None:
        self.profile = StorageProfile()
        self._real_storage, self._bucket = storage, bucket
        self._id = uuid.uuid4().hex
        self._source, self._target = f"probe/{self._id}/source", f"probe/{self._id}/target"
        self._content = memoryview(random.Random(self._id).randbytes(SOURCE_SIZE))  # noqa: S311
        self._etag = ""
        self._upload_ids: list[str] = []
        self._last_error: DownloadError | None = None

    @property
    def _storage(self) -> ObjectStorage:
        return self._real_storage.with_profile(self.profile)

    def check_objects(self) -> None:
        """Test PutObject, HeadObject and GetObject with ranges."""
        for put_crc32 in (True, False):
            self.profile = replace(self.profile, put_crc32=put_crc32)
            etag = self._try(self._put_source, required=not put_crc32)
            if etag is not None:
                break
        storage = self._storage
        info = storage.head_object(self._bucket, self._source)
        self.profile = storage.profile
        if info.size != SOURCE_SIZE or not info.etag:
            raise StorageUnsupported(
                "The object storage does not return sizes and ETags of objects"
            )
        self._etag = info.etag
        view = memoryview(bytearray(SOURCE_SIZE - 20))
        self._storage.read_into(self._bucket, self._source, view, start=10, if_match=self._etag)
        if view != self._content[10:-10]:
            raise StorageUnsupported("The object storage does not return the requested ranges")
        self._check_content_md5()

    def check_deletion(self) -> None:
        """Test DeleteObjects; without it objects are deleted one by one."""
        key = f"probe/{self._id}/deleted"
        self._storage.put_object(self._bucket, key, b"x", crc32=crc32(b"x"))
        self._try(lambda: self._storage.delete_objects(self._bucket, [key]))
        if self._try(lambda: self._storage.head_object(self._bucket, key)) is not None:
            self.profile = replace(self.profile, multi_delete=False)
            self._try(lambda: self._storage.delete_objects(self._bucket, [key]))

    def check_listing(self) -> None:
        """Test ListMultipartUploads, which only the cleanup needs."""
        uploads = self._try(lambda: self._storage.list_multipart_uploads(self._bucket, "probe/"))
        self.profile = replace(self.profile, list_uploads=uploads is not None)

    def check_uploads(self, *, with_copies: bool) -> None:
        """Find the best kind of upload that the storage completes with the right bytes."""
        for candidate in self._candidates(with_copies=with_copies):
            self.profile = candidate
            if copy_checksum := self._try(self._complete_upload):
                self.profile = replace(
                    self.profile, copy_checksum=candidate.range_copy and copy_checksum == "returned"
                )
                break
        else:
            raise StorageUnsupported(
                f"The object storage does not support multipart uploads: {self._last_error}"
            )
        self.profile = replace(
            self.profile,
            copy_precondition=self.profile.range_copy
            and self._rejects(lambda: self._copy(self._create(), 1, f'"{self._id}"'), FileChanged),
            part_checksum=self.profile.upload_crc32
            and self._rejects(lambda: self._put_part(self._create(), 2, 3, wrong=True)),
            whole_checksum=self.profile.full_object_crc32
            and self._rejects(lambda: self._complete_upload(wrong=True)),
        )
        if self.profile.part_checksum:
            self.profile = replace(self.profile, content_md5=False)
        self._check_streams()

    def _check_streams(self) -> None:
        """Test whether parts whose CRC32 is not in the request are verified nevertheless."""
        for returned, trailing in ((True, False), (False, True)):
            candidate = replace(self.profile, returns_part_crc32=returned, trailing_crc32=trailing)
            self.profile = candidate
            if (
                candidate.upload_crc32
                and self._try(self._complete_stream)
                and self._rejects(lambda: self._put_stream(self._create(), wrong=True))
            ):
                return
        self.profile = replace(self.profile, trailing_crc32=False)

    def clean_up(self) -> None:
        """Delete everything; a failure is only logged, as the rules for ``probe/`` apply."""
        try:
            for upload_id in self._upload_ids:
                self._storage.abort_multipart_upload(self._bucket, self._target, upload_id)
            self._storage.delete_objects(self._bucket, [self._source, self._target])
        except DownloadError as error:
            log.warning("probe not cleaned up", error=str(error))

    def _candidates(self, *, with_copies: bool) -> Iterator[StorageProfile]:
        """Yield the kinds of uploads, best first: copies save more than checksums do."""
        checksums = [(True, True), (False, True), (False, False)]
        for mixed_parts, range_copy in ((True, True), (True, False), (False, False)):
            if range_copy and not with_copies:
                continue
            for full_object_crc32, composite_crc32 in checksums:
                yield replace(
                    self.profile,
                    mixed_parts=mixed_parts,
                    range_copy=range_copy,
                    full_object_crc32=full_object_crc32,
                    composite_crc32=composite_crc32,
                )

    def _check_content_md5(self) -> None:
        """Test whether a wrong Content-MD5 is rejected (RFC 1864)."""
        with_md5 = self._real_storage.with_profile(replace(self.profile, content_md5=True))
        key, body = f"probe/{self._id}/target", b"content"
        accepted = self._try(lambda: with_md5.put_object(self._bucket, key, body) or True)
        rejected = accepted is not None and self._rejects(
            lambda: with_md5.put_object(self._bucket, key, body, content_md5=WRONG_MD5)
        )
        self.profile = replace(self.profile, content_md5=rejected)

    def _put_source(self) -> str:
        return self._storage.put_object(
            self._bucket, self._source, self._content, crc32=crc32(self._content)
        )

    def _complete_upload(self, *, wrong: bool = False) -> str:
        """Complete an upload and read it; return whether a copy had a checksum."""
        upload_id = self._create()
        sizes = [MIN_PART_SIZE, SOURCE_SIZE if self.profile.mixed_parts else MIN_PART_SIZE]
        copy_checksum = "returned"
        parts = []
        for number, size in enumerate(sizes, start=1):
            if self.profile.range_copy and number == 1:
                part = self._copy(upload_id, number, self._etag, size)
                if part.crc32 is None:
                    copy_checksum = "missing"
                    part = replace(part, crc32=crc32(self._content[:size]))
            else:
                part = self._put_part(upload_id, number, size)
            parts.append(part)
        parts.append(self._put_part(upload_id, len(parts) + 1, LAST_PART_SIZE))
        sizes.append(LAST_PART_SIZE)
        contents = [self._content[:size] for size in sizes]
        whole = join((crc32(content), len(content)) for content in contents)
        etag = self._storage.complete_multipart_upload(
            self._bucket, self._target, upload_id, parts, crc32=whole ^ wrong, size=sum(sizes)
        )
        self._upload_ids.remove(upload_id)
        info = self._storage.head_object(self._bucket, self._target)
        if info.size != sum(sizes):
            raise StorageError("The completed object has another size")
        if etag != info.etag:
            self.profile = replace(self.profile, complete_etag=False)
        stored = memoryview(bytearray(info.size))
        self._storage.read_into(self._bucket, self._target, stored, if_match=info.etag)
        if crc32(stored) != whole:
            raise StorageError("The completed object has other bytes")
        if self.profile.range_copy:
            # Swift rejects the ETag of an object that was uploaded in parts.
            self._copy(self._create(), 1, info.etag, source=self._target)
        return copy_checksum

    def _create(self) -> str:
        upload_id = self._storage.create_multipart_upload(self._bucket, self._target)
        self._upload_ids.append(upload_id)
        return upload_id

    def _copy(
        self,
        upload_id: str,
        number: int,
        if_match: str,
        size: int = MIN_PART_SIZE,
        *,
        source: str | None = None,
    ) -> UploadedPart:
        return self._storage.upload_part_copy(
            self._bucket, self._target, upload_id, number,
            source=(self._bucket, source or self._source), start=0, length=size,
            if_match=if_match,
        )  # fmt: skip

    def _put_part(
        self, upload_id: str, number: int, size: int, *, wrong: bool = False
    ) -> UploadedPart:
        body = self._content[:size]
        return self._storage.upload_part(
            self._bucket, self._target, upload_id, number, body, crc32=crc32(body) ^ wrong
        )

    def _put_stream(self, upload_id: str, *, wrong: bool = False) -> UploadedPart:
        stream = _Stream(self._content[:STREAM_SIZE], wrong=wrong)
        return self._storage.upload_part_stream(self._bucket, self._target, upload_id, 1, stream)

    def _complete_stream(self) -> bool:
        """Upload an object with its CRC32 behind its bytes, and read it."""
        upload_id = self._create()
        part = self._put_stream(upload_id)
        self._storage.complete_multipart_upload(
            self._bucket, self._target, upload_id, [part], crc32=part.crc32, size=STREAM_SIZE
        )
        self._upload_ids.remove(upload_id)
        stored = memoryview(bytearray(STREAM_SIZE))
        self._storage.read_into(self._bucket, self._target, stored)
        if crc32(stored) != part.crc32:
            raise StorageError("The object contains the encoding of its upload")
        return True

    def _rejects(
        self, call: Callable[[], object], error: type[DownloadError] = BadChecksum
    ) -> bool:
        """Return whether a call fails with this error."""
        try:
            call()
        except DownloadError as raised:
            if isinstance(raised, _TEMPORARY):
                self._check_available(raised)
            return isinstance(raised, error)
        return False

    def _try(self, call: Callable[[], T], *, required: bool = False) -> T | None:
        """Return the result of a call, or None if the storage does not support it.

        Raise the error of a ``required`` call, and any error of a storage that is unavailable.
        """
        try:
            return call()
        except DownloadError as error:
            if required:
                raise
            if isinstance(error, _TEMPORARY):
                self._check_available(error)
            self._last_error = error
            return None

    def _check_available(self, error: DownloadError) -> None:
        """Raise ``error`` unless another call works: some servers send 500 for unknown ones."""
        if not self._etag:
            raise error
        self._storage.head_object(self._bucket, self._source)
