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
from worker.archive.zip_format.crc32 import crc32


@pytest.fixture(scope="session")
def storage(s3: S3) -> Iterator[ObjectStorage]:
    storage = ObjectStorage(
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )

    def ready() -> bool:
        try:
            storage.ensure_bucket("ready")
        except (StorageError, BackendUnavailable):
            return False
        return True

    wait_until(ready, "the first bucket")
    yield storage
    storage.close()


@dataclass(frozen=True, kw_only=True)
class Buckets:
    storage: ObjectStorage
    sources: str
    archives: str

    def put(self, file_id: int, content: bytes, *, name: str | None = None) -> None:
        """Put a file: every other one with its checksum, as today's SDKs do."""
        self.storage.put_object(
            self.sources, str(file_id), content,
            metadata={"filename": name} if name else None,
            crc32=None if file_id % 2 else crc32(content),
        )  # fmt: skip

    def source(self) -> Source:
        return source_from_template(f"s3://{self.sources}/{{file_id}}", storage=self.storage)

    def read(self, key: str, bucket: str | None = None) -> bytes:
        bucket = bucket or self.archives
        view = memoryview(bytearray(self.storage.head_object(bucket, key).size))
        self.storage.read_into(bucket, key, view)
        return bytes(view)

    def delete(self) -> None:
        """Delete both buckets: each one takes up volumes of the server, which has few."""
        for bucket in (self.sources, self.archives):
            for upload in self.storage.list_multipart_uploads(bucket, ""):
                self.storage.abort_multipart_upload(bucket, upload.key, upload.upload_id)
            while page := self.storage.list_objects_v2(bucket):
                self.storage.delete_objects(bucket, [entry.key for entry in page])
            self.storage._setup.delete_bucket(Bucket=bucket)

    def unfinished(self) -> list[str]:
        """Return the open uploads and the temporary objects."""
        open_uploads = [
            f"upload {u.key}" for u in self.storage.list_multipart_uploads(self.archives, "")
        ]
        temporaries = [
            o.key for o in self.storage.list_objects_v2(self.archives) if "/parts/" in o.key
        ]
        return open_uploads + temporaries


def _make(storage: ObjectStorage) -> Buckets:
    suffix = uuid.uuid4().hex[:8]
    buckets = Buckets(storage=storage, sources=f"files-{suffix}", archives=f"archives-{suffix}")
    storage.ensure_bucket(buckets.sources)
    storage.ensure_bucket(buckets.archives)
    return buckets


@pytest.fixture
def buckets(storage: ObjectStorage) -> Iterator[Buckets]:
    buckets = _make(storage)
    yield buckets
    buckets.delete()


@pytest.fixture(scope="module")
def module_buckets(storage: ObjectStorage) -> Iterator[Buckets]:
    buckets = _make(storage)
    yield buckets
    buckets.delete()
