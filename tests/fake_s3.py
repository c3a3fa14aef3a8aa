"""An object store in memory that keeps the rules of S3 that archives run into, and can crash.

It stands where ``ObjectStore`` stands. ``crash_at`` counts calls: that one raises ``Crash``, before
or after it took effect, and so does every call after it, as if the worker had been killed.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from zlib_ng.zlib_ng import crc32

from common.errors import FileChanged, StorageError
from common.storage import BadChecksum, Listed, ObjectMissing, Part, Upload, UploadMissing
from common.storage.documents import ObjectInfo

BORN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Crash(BaseException):
    """The worker is gone."""


@dataclass
class Stored:
    data: bytes
    etag: str
    metadata: dict[str, str]
    crc32: int | None
    modified: datetime = BORN


@dataclass
class OpenUpload:
    bucket: str
    key: str
    metadata: dict[str, str]
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)


class FakeS3:
    """Thread safe. Parts but the last have ``least`` bytes, sources of copies more than that."""

    def __init__(self, *, least: int = 100, keeps_checksums: bool = True) -> None:
        self.least = least
        self.keeps_checksums = keeps_checksums
        #: AWS forgets an upload once it is completed; SeaweedFS answers the same again.
        self.forgets_completed = True
        self.objects: dict[tuple[str, str], Stored] = {}
        self.open_uploads: dict[str, OpenUpload] = {}
        self.completed: dict[str, str] = {}
        self.calls: list[str] = []
        self.crash_at: int | None = None
        self.crash_before = True
        self.hook: Any = lambda _: None
        self._dead = False
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    def revive(self, *, crash_at: int | None = None, before: bool = True) -> None:
        """A new worker meets the same store."""
        with self._lock:
            self._dead = False
            self.calls = []
            self.crash_at, self.crash_before = crash_at, before

    @contextmanager
    def step(self, name: str) -> Any:
        with self._lock:
            if self._dead:
                raise Crash
            self.calls.append(name)
            self.hook(name)
            crashes = self.crash_at == len(self.calls)
            if crashes and self.crash_before:
                self._dead = True
                raise Crash
            yield
            if crashes:
                self._dead = True
                raise Crash

    def head(self, bucket: str, key: str, **_: Any) -> ObjectInfo:
        with self.step("head"):
            found = self._get(bucket, key)
            return ObjectInfo(
                key=key,
                size=len(found.data),
                etag=found.etag,
                modified=found.modified,
                content_type="application/octet-stream",
                metadata=found.metadata,
                content_disposition=None,
                crc32=found.crc32,
            )

    def list_objects(
        self, bucket: str, *, prefix: str = "", start_after: str = "", limit: int = 1000, **_: Any
    ) -> list[Listed]:
        with self.step("list"):
            keys = sorted(
                k
                for b, k in self.objects
                if b == bucket and k.startswith(prefix) and k > start_after
            )
            found = [(key, self.objects[bucket, key]) for key in keys[:limit]]
            return [
                Listed(key=key, size=len(o.data), etag=o.etag, modified=o.modified)
                for key, o in found
            ]

    def read_into(
        self,
        bucket: str,
        key: str,
        view: memoryview,
        *,
        start: int = 0,
        if_match: str | None = None,
        progress: Any = lambda _: None,
        **_: Any,
    ) -> None:
        with self.step("read"):
            data = self._get(bucket, key, if_match).data[start : start + len(view)]
            assert len(data) == len(view), "read beyond the object"
            view[:] = data
            progress(len(view))

    @contextmanager
    def open(self, bucket: str, key: str, **_: Any) -> Any:
        with self.step("open"):
            data = self._get(bucket, key).data
        yield SimpleNamespace(read_all=lambda: data)

    def put(
        self,
        bucket: str,
        key: str,
        body: Any,
        *,
        metadata: dict[str, str] | None = None,
        crc32: int | None = None,
        **_: Any,
    ) -> str:
        with self.step("put"):
            return self.place(
                bucket, key, bytes(body), metadata=metadata, announced=crc32, modified=_now()
            )  # fmt: skip

    def place(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        metadata: dict[str, str] | None = None,
        announced: int | None = None,
        modified: datetime = BORN,
    ) -> str:
        """Store an object without its being a call."""
        if announced not in (None, crc32(data)):
            raise BadChecksum("BadDigest")
        etag = f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324
        kept = crc32(data) if self.keeps_checksums else None
        self.objects[bucket, key] = Stored(data, etag, dict(metadata or {}), kept, modified)
        return etag

    def create_upload(
        self, bucket: str, key: str, *, metadata: dict[str, str] | None = None, **_: Any
    ) -> str:
        with self.step("create"):
            upload_id = f"u{next(self._ids)}"
            self.open_uploads[upload_id] = OpenUpload(bucket, key, dict(metadata or {}))
            return upload_id

    def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Any, *, crc32: int, **_: Any
    ) -> Part:
        with self.step("put_part"):
            return self._part(bucket, key, upload_id, number, bytes(body), announced=crc32)

    def copy_part(
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
    ) -> Part:
        with self.step("copy_part"):
            data = self._get(*source, if_match).data
            assert len(data) > self.least, "a range of too small an object"
            assert start + length <= len(data), "copied beyond the object"
            return self._part(bucket, key, upload_id, number, data[start : start + length])

    def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: list[Part],
        *,
        crc32: int | None = None,
        size: int | None = None,
        **_: Any,
    ) -> str:
        with self.step("complete"):
            if upload_id in self.completed and not self.forgets_completed:
                return self.completed[upload_id]
            upload = self._upload(bucket, key, upload_id)
            held = []
            for part in parts:
                data, etag = upload.parts[part.number]
                assert etag == part.etag
                held.append(data)
            assert all(len(data) >= self.least for data in held[:-1]), "EntityTooSmall"
            whole = b"".join(held)
            assert size in (None, len(whole))
            self.place(
                bucket, key, whole, metadata=upload.metadata, announced=crc32, modified=_now()
            )  # fmt: skip
            digests = b"".join(hashlib.md5(data).digest() for data in held)  # noqa: S324
            etag = f'"{hashlib.md5(digests).hexdigest()}-{len(held)}"'  # noqa: S324
            self.objects[bucket, key].etag = etag
            del self.open_uploads[upload_id]
            self.completed[upload_id] = etag
            return etag

    def abort(self, _bucket: str, _key: str, upload_id: str, **_: Any) -> None:
        with self.step("abort"):
            self.open_uploads.pop(upload_id, None)

    def uploads(self, bucket: str, prefix: str, **_: Any) -> list[Upload]:
        with self.step("uploads"):
            return [
                Upload(key=upload.key, upload_id=upload_id, initiated=BORN)
                for upload_id, upload in self.open_uploads.items()
                if upload.bucket == bucket and upload.key.startswith(prefix)
            ]

    def delete_many(self, bucket: str, keys: list[str], **_: Any) -> None:
        with self.step("delete_many"):
            for key in keys:
                self.objects.pop((bucket, key), None)

    def _get(self, bucket: str, key: str, if_match: str | None = None) -> Stored:
        found = self.objects.get((bucket, key))
        if found is None:
            raise ObjectMissing(key)
        if if_match not in (None, found.etag):
            raise FileChanged
        return found

    def _upload(self, bucket: str, key: str, upload_id: str) -> OpenUpload:
        upload = self.open_uploads.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise UploadMissing(upload_id)
        return upload

    def _part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        announced: int | None = None,
    ) -> Part:
        if not data:
            raise StorageError("an empty part")
        if announced not in (None, crc32(data)):
            raise BadChecksum("BadDigest")
        etag = f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324
        self._upload(bucket, key, upload_id).parts[number] = (data, etag)
        known = self.keeps_checksums or announced is not None
        return Part(number=number, etag=etag, crc32=crc32(data) if known else None)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class MemoryCheckpoint:
    """Keeps records beyond the life of a worker; its calls count among those of the store."""

    store: FakeS3
    records: list[bytes] = field(default_factory=list)

    def load(self) -> list[bytes]:
        return list(self.records)

    def append(self, record: bytes) -> None:
        with self.store.step("journal"):
            self.records.append(record)

    def clear(self) -> None:
        with self.store.step("forget"):
            self.records.clear()
