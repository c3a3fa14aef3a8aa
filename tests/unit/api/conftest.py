"""Fixtures: the whole API on fakeredis, with a fake object storage."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from api.app import create_app
from api.dependencies import EXTENSION
from common.bootstrap import assemble
from common.errors import BackendUnavailable
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.jobs.model import Artifact, Failure, Job, Lease, Progress
from common.object_storage import Cancellation, NoSuchKey, ObjectInfo
from common.settings import Settings

ARTIFACT = Artifact(
    bucket="archives",
    key="ab/cd.zip",
    name="files.zip",
    size=1234,
    content_type="application/zip",
    checksum="crc32:0badcafe",
)

#: The headers of an operator.
OPERATOR = {"Authorization": "Bearer open sesame"}


class FakeStorage:
    """An object storage in which files 1 to 99 exist. ``broken`` makes every call fail."""

    def __init__(self) -> None:
        self.broken = False

    def presign_get(
        self, bucket: str, key: str, *, filename: str, content_type: str, expires_in: int
    ) -> str:
        return f"https://storage.example/{bucket}/{key}?name={filename}&expires={expires_in}"

    def presign_for_proxy(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        filename: str,
        content_type: str,
        expires_in: int,
    ) -> str:
        return (
            f"http://storage.internal:9000/{bucket}/{key}"
            f"?method={method}&name={filename}&type={content_type}&expires={expires_in}"
        )

    def links_expire_at(self) -> int | None:
        return None

    def head_object(self, bucket: str, key: str, *, cancellation: Cancellation) -> ObjectInfo:
        if self.broken:
            raise BackendUnavailable
        if not 1 <= int(key) < 100:
            raise NoSuchKey
        return ObjectInfo(
            key=key,
            size=5,
            etag='"1"',
            modified=None,
            content_type="text/plain",
            metadata={"filename": "letter.txt"},
            content_disposition=None,
            crc32=None,
        )

    def check(self, bucket: str) -> None:
        if self.broken:
            raise BackendUnavailable


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def settings() -> Settings:
    return Settings(admin_token="open sesame")


@pytest.fixture
def make_app(
    redis: Redis, jobs: JobStore, queries: JobQueries, storage: FakeStorage, settings: Settings
) -> Callable[..., Flask]:
    def make(**changes: Any) -> Flask:
        services = assemble(dataclasses.replace(settings, **changes), redis, storage)
        app = create_app(dataclasses.replace(services, jobs=jobs, queries=queries))
        minute, began = time.time() // 60 * 60, time.monotonic()
        # As if the minute had begun now, so that no test has requests in two of them by chance.
        app.extensions[EXTENSION].rate_limiter._clock = lambda: minute + time.monotonic() - began
        return app

    return make


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app().test_client()


@pytest.fixture
def post(client: FlaskClient) -> Callable[..., Any]:
    """Return a function that starts a download; keyword arguments are the body."""

    def send(headers: dict[str, str] | None = None, **body: Any) -> Any:
        return client.post(
            "/v1/download/initiate", json=body or {"file_ids": [1, 2]}, headers=headers
        )

    return send


class Worker:
    """Processes jobs as a worker would."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    def claim(self, job_id: str) -> Lease:
        claim = self._jobs.claim(job_id, "worker-1")
        assert claim is not None
        return claim.lease

    def complete(self, job_id: str, artifact: Artifact = ARTIFACT) -> Job:
        progress = Progress(processed_files=2, total_bytes=1200, processed_bytes=1200)
        return self._jobs.complete(self.claim(job_id), artifact, progress)

    def fail(self, job_id: str) -> Job:
        failure = Failure(code="FILE_NOT_FOUND", message="File 1 does not exist", retryable=False)
        return self._jobs.fail(self.claim(job_id), failure)


@pytest.fixture
def worker(jobs: JobStore) -> Worker:
    return Worker(jobs)
