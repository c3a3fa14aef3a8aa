"""A fake of ``ObjectStorage`` with objects in memory."""

from __future__ import annotations

import copy
import hashlib
import io
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self

from zlib_ng.zlib_ng import crc32

from common.errors import FileChanged
from common.object_storage import (
    BadChecksum,
    ListedObject,
    NoSuchKey,
    ObjectPage,
    StorageProfile,
)
from common.object_storage.s3_xml import ObjectInfo
from tests.support.crashes import CrashPoints

CREATED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class StoredObject:
    """An object and what HeadObject says about it."""

    data: bytes
    etag: str
    metadata: dict[str, str]
    crc32: int | None
    modified: datetime = CREATED_AT
    expires_at: datetime | None = None
    sha256: str | None = None


class FakeObjects(CrashPoints):
    """The operations on objects. Thread safe."""

    def __init__(self, *, returns_checksums: bool) -> None:
        super().__init__()
        self.endpoint = "http://s3"
        self.returns_checksums = returns_checksums
        self.block_size = 64
        #: Objects on a page of a listing, also if the caller asks for more.
        self.max_page_size = 1_000
        self.objects: dict[tuple[str, str], StoredObject] = {}
        self.profile = StorageProfile()

    def with_profile(self, profile: StorageProfile) -> Self:
        other = copy.copy(self)
        other.profile = profile
        return other

    def can_link(self, _: str) -> bool:
        return True

    def head_object(self, bucket: str, key: str, **_: Any) -> ObjectInfo:
        with self.step("head_object"):
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
                expires_at=found.expires_at,
                sha256=found.sha256,
            )

    def list_objects_v2(
        self, bucket: str, *, prefix: str = "", start_after: str = "", limit: int = 1000, **_: Any
    ) -> ObjectPage:
        with self.step("list_objects_v2"):
            limit = min(limit, self.max_page_size)
            keys = sorted(
                k
                for b, k in self.objects
                if b == bucket and k.startswith(prefix) and k > start_after
            )
            found = [(key, self.objects[bucket, key]) for key in keys[:limit]]
            page = [
                ListedObject(key=key, size=len(o.data), etag=o.etag, modified=o.modified)
                for key, o in found
            ]
            return ObjectPage(page, is_truncated=len(keys) > limit)

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
        with self.step("read_into"):
            data = self._get(bucket, key, if_match).data[start : start + len(view)]
            assert len(data) == len(view), "read beyond the object"
            view[:] = data
            progress(len(view))

    def read_blocks(
        self, bucket: str, key: str, consume: Any, *, start: int, length: int, **options: Any
    ) -> None:
        view = memoryview(bytearray(length))
        self.read_into(bucket, key, view, start=start, if_match=options["if_match"])
        for first in range(0, length, self.block_size):
            consume(view[first : first + self.block_size])

    @contextmanager
    def get_object(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | None = None,
        **_: Any,
    ) -> Any:
        with self.step("get_object"):
            body = io.BytesIO(self._get(bucket, key, if_match).data[start:end])
        yield SimpleNamespace(read_all=body.read, readinto=body.readinto)

    def put_object(
        self,
        bucket: str,
        key: str,
        body: Any,
        *,
        metadata: dict[str, str] | None = None,
        crc32: int | None = None,
        **_: Any,
    ) -> str:
        with self.step("put_object"):
            return self.add_object(
                bucket, key, bytes(body), metadata=metadata, announced=crc32, modified=now()
            )  # fmt: skip

    def add_object(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        metadata: dict[str, str] | None = None,
        announced: int | None = None,
        modified: datetime = CREATED_AT,
    ) -> str:
        """Store an object without counting a call."""
        if announced not in (None, crc32(data)):
            raise BadChecksum("BadDigest")
        etag = f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324
        kept = crc32(data) if self.returns_checksums else None
        self.objects[bucket, key] = StoredObject(data, etag, dict(metadata or {}), kept, modified)
        return etag

    def delete_objects(self, bucket: str, keys: list[str], **_: Any) -> None:
        with self.step("delete_objects"):
            for key in keys:
                self.objects.pop((bucket, key), None)

    def _get(self, bucket: str, key: str, if_match: str | None = None) -> StoredObject:
        found = self.objects.get((bucket, key))
        if found is None:
            raise NoSuchKey(key)
        if if_match not in (None, found.etag):
            raise FileChanged
        return found


def now() -> datetime:
    return datetime.now(UTC)
