"""Uploads of ended jobs are removed from the storage, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from common.errors import JobNotFound
from common.job_store import keys
from common.job_store.checkpoints import Checkpoints
from common.jobs.transitions import JobState
from common.settings import Settings
from tests.support.fake_s3 import FakeS3
from worker.archive.composing.upload_log import UploadLog
from worker.archive_builder import ArchiveBuilder

JOB = keys.new_job_id("ann")
PLAN = "a" * 40
KEY = f"archives/{PLAN}/archive.zip"


class Queries:
    def __init__(self) -> None:
        self.status: JobState | None = JobState.CANCELLED

    def get(self, _: str) -> Any:
        if self.status is None:
            raise JobNotFound
        return SimpleNamespace(status=self.status)


@pytest.fixture
def store() -> FakeS3:
    return FakeS3()


@pytest.fixture
def queries() -> Queries:
    return Queries()


@pytest.fixture
def builder(redis: Redis, store: FakeS3, queries: Queries) -> ArchiveBuilder:
    services = SimpleNamespace(
        settings=Settings.from_env({}), redis=redis, storage=store, queries=queries, source=None
    )
    return ArchiveBuilder(services)


@pytest.fixture
def uploads_of_a_dead_worker(redis: Redis, store: FakeS3) -> None:
    """An upload, and a temporary object of version 0.1."""
    upload_log = UploadLog.load(Checkpoints(redis).for_job(JOB))
    upload_log.begin(PLAN, "archives", KEY)
    upload_log.add_upload(store.create_multipart_upload("archives", KEY))
    store.add_object("archives", f"archives/{PLAN}/parts/5", b"a temporary object")
    store.add_object("archives", "archives/another/archive.zip", b"the archive of another job")


@pytest.mark.parametrize("status", [JobState.CANCELLED, JobState.FAILED, None])
@pytest.mark.usefixtures("uploads_of_a_dead_worker")
def test_uploads_and_temporary_objects_of_an_ended_job_are_removed(
    builder: ArchiveBuilder, store: FakeS3, queries: Queries, redis: Redis, status: JobState | None
) -> None:
    queries.status = status
    assert builder.remove_uploads_of_ended_jobs() == 1
    assert store.open_uploads == {}
    assert list(store.objects) == [("archives", "archives/another/archive.zip")]
    assert builder.remove_uploads_of_ended_jobs() == 0
    assert redis.keys("*") == []


@pytest.mark.parametrize("status", [JobState.QUEUED, JobState.PROCESSING])
@pytest.mark.usefixtures("uploads_of_a_dead_worker")
def test_a_job_that_may_continue_keeps_its_uploads(
    builder: ArchiveBuilder, store: FakeS3, queries: Queries, status: JobState
) -> None:
    queries.status = status
    assert builder.remove_uploads_of_ended_jobs() == 0
    assert len(store.open_uploads) == 1


@pytest.mark.usefixtures("uploads_of_a_dead_worker")
def test_the_upload_of_another_job_for_the_same_archive_is_kept(
    builder: ArchiveBuilder, store: FakeS3
) -> None:
    upload_id = store.create_multipart_upload("archives", KEY)
    assert builder.remove_uploads_of_ended_jobs() == 1
    assert set(store.open_uploads) == {upload_id}
