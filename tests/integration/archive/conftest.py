"""An object storage on a real S3 server, with a source and an archive bucket for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from common.errors import BackendUnavailable, StorageError
from common.object_storage import ObjectStorage
from common.sources import Source, source_from_template
from stack.process import wait_until
from stack.services import S3


@pytest.fixture(scope="session")
def store(s3: S3) -> Iterator[ObjectStorage]:
    store = ObjectStorage(
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )

    def ready() -> bool:
        try:
            store.ensure_bucket("ready")
        except (StorageError, BackendUnavailable):
            return False
        return True

    wait_until(ready, "the first bucket")
    yield store
    store.close()


@dataclass(frozen=True, kw_only=True)
class Buckets:
    store: ObjectStorage
    sources: str
    archives: str

    def put(self, file_id: int, content: bytes, *, name: str | None = None) -> None:
        metadata = {"filename": name} if name else None
        self.store.put_object(self.sources, str(file_id), content, metadata=metadata)

    def source(self) -> Source:
        return source_from_template(f"s3://{self.sources}/{{file_id}}", store=self.store)

    def read(self, key: str, bucket: str | None = None) -> bytes:
        bucket = bucket or self.archives
        view = memoryview(bytearray(self.store.head_object(bucket, key).size))
        self.store.read_into(bucket, key, view)
        return bytes(view)

    def unfinished(self) -> list[str]:
        """Return the open uploads and the temporary objects."""
        open_uploads = [
            f"upload {u.key}" for u in self.store.list_multipart_uploads(self.archives, "")
        ]
        temporaries = [
            o.key for o in self.store.list_objects_v2(self.archives) if "/parts/" in o.key
        ]
        return open_uploads + temporaries


def _make(store: ObjectStorage) -> Buckets:
    suffix = uuid.uuid4().hex[:8]
    buckets = Buckets(store=store, sources=f"files-{suffix}", archives=f"archives-{suffix}")
    store.ensure_bucket(buckets.sources)
    store.ensure_bucket(buckets.archives)
    return buckets


@pytest.fixture
def buckets(store: ObjectStorage) -> Buckets:
    return _make(store)


@pytest.fixture(scope="module")
def module_buckets(store: ObjectStorage) -> Buckets:
    return _make(store)
