"""A fake of ``ObjectStorage`` in memory that enforces the rules of S3 and can crash."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any

from zlib_ng.zlib_ng import crc32

from common.errors import StorageError
from common.object_storage import BadChecksum, MultipartUpload, NoSuchUpload, UploadedPart
from tests.support.fake_object_storage import CREATED_AT, FakeObjects, now


@dataclass
class OpenUpload:
    """An upload that was neither completed nor aborted."""

    bucket: str
    key: str
    metadata: dict[str, str]
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)


class FakeS3(FakeObjects):
    """All operations. Thread safe.

    Parts except the last must have ``min_part_size`` bytes, sources of copies more than that.
    """

    def __init__(
        self,
        *,
        min_part_size: int = 100,
        returns_checksums: bool = True,
        copies: bool = True,
        checks_if_match: bool = True,
        equal_parts: bool = False,
        trailers: bool = True,
        part_crc32: bool = False,
    ) -> None:
        """``equal_parts``: all parts except the last must have one size, as with Cloudflare R2."""
        super().__init__(returns_checksums=returns_checksums)
        self.min_part_size = min_part_size
        self.copies = copies
        self.checks_if_match = checks_if_match
        self.equal_parts = equal_parts
        self.trailers = trailers
        self.part_crc32 = part_crc32
        #: AWS deletes an upload when it is completed; SeaweedFS responds as the first time.
        self.forgets_completed = True
        self.open_uploads: dict[str, OpenUpload] = {}
        self.completed: dict[str, str] = {}
        self._ids = itertools.count(1)

    def create_multipart_upload(
        self, bucket: str, key: str, *, metadata: dict[str, str] | None = None, **_: Any
    ) -> str:
        with self.step("create_multipart_upload"):
            upload_id = f"u{next(self._ids)}"
            self.open_uploads[upload_id] = OpenUpload(bucket, key, dict(metadata or {}))
            return upload_id

    def upload_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Any, *, crc32: int, **_: Any
    ) -> UploadedPart:
        with self.step("upload_part"):
            return self._part(bucket, key, upload_id, number, bytes(body), announced=crc32)

    def upload_part_stream(
        self, bucket: str, key: str, upload_id: str, number: int, stream: Any, **_: Any
    ) -> UploadedPart:
        if not (self.part_crc32 if self.profile.returns_part_crc32 else self.trailers):
            raise StorageError("NotImplemented")
        body = b"".join(bytes(block) for block in stream)
        assert len(body) == len(stream)
        with self.step("upload_part"):
            return self._part(bucket, key, upload_id, number, body, announced=stream.crc32)

    def upload_part_copy(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        source: tuple[str, str],
        start: int,
        length: int,
        if_match: str | None,
        **_: Any,
    ) -> UploadedPart:
        with self.step("upload_part_copy"):
            if not self.copies:
                raise StorageError("NotImplemented")
            data = self._get(*source, if_match if self.checks_if_match else None).data
            assert len(data) > self.min_part_size, "a range of too small an object"
            assert start + length <= len(data), "copied beyond the object"
            return self._part(bucket, key, upload_id, number, data[start : start + length])

    def complete_multipart_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: list[UploadedPart],
        *,
        crc32: int | None = None,
        size: int | None = None,
        **_: Any,
    ) -> str:
        with self.step("complete_multipart_upload"):
            if upload_id in self.completed and not self.forgets_completed:
                return self.completed[upload_id]
            upload = self._upload(bucket, key, upload_id)
            held = []
            for part in parts:
                data, etag = upload.parts[part.number]
                assert etag == part.etag
                held.append(data)
            assert all(len(data) >= self.min_part_size for data in held[:-1]), "EntityTooSmall"
            if self.equal_parts and len({len(data) for data in held[:-1]}) > 1:
                raise BadChecksum("InvalidPart: All non-trailing parts must have the same length.")
            if self.equal_parts and len(held[-1]) > len(held[0]):
                raise BadChecksum("InvalidPart: the last part is the longest")
            whole = b"".join(held)
            assert size in (None, len(whole))
            self.add_object(
                bucket, key, whole, metadata=upload.metadata, announced=crc32, modified=now()
            )  # fmt: skip
            digests = b"".join(hashlib.md5(data).digest() for data in held)  # noqa: S324
            etag = f'"{hashlib.md5(digests).hexdigest()}-{len(held)}"'  # noqa: S324
            self.objects[bucket, key].etag = etag
            del self.open_uploads[upload_id]
            self.completed[upload_id] = etag
            return etag

    def abort_multipart_upload(self, _bucket: str, _key: str, upload_id: str, **_: Any) -> None:
        with self.step("abort_multipart_upload"):
            self.open_uploads.pop(upload_id, None)

    def list_multipart_uploads(self, bucket: str, prefix: str, **_: Any) -> list[MultipartUpload]:
        with self.step("list_multipart_uploads"):
            return [
                MultipartUpload(key=upload.key, upload_id=upload_id, initiated=CREATED_AT)
                for upload_id, upload in self.open_uploads.items()
                if upload.bucket == bucket and upload.key.startswith(prefix)
            ]

    def _upload(self, bucket: str, key: str, upload_id: str) -> OpenUpload:
        upload = self.open_uploads.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise NoSuchUpload(upload_id)
        return upload

    def _part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        announced: int | None = None,
    ) -> UploadedPart:
        if not data:
            raise StorageError("an empty part")
        if announced not in (None, crc32(data)):
            raise BadChecksum("BadDigest")
        etag = f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324
        self._upload(bucket, key, upload_id).parts[number] = (data, etag)
        known = self.returns_checksums or announced is not None
        return UploadedPart(number=number, etag=etag, crc32=crc32(data) if known else None)
