"""Uploads of ended jobs are removed from the storage, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from redis import Redis
from redis.exceptions import LockNotOwnedError

from common.errors import JobNotFound, StorageError
from common.job_store import keys
from common.job_store.checkpoints import Checkpoints
from common.jobs.transitions import JobState
from common.settings import Settings
from tests.support.fake_s3 import FakeS3
from worker.archive.composing.upload_log import UploadLog
from worker.archive_builder import ArchiveBuilder
from worker.maintenance.cleanup import Cleanup

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

    def get_many(self, _: list[str]) -> list[Any]:
        return []


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


@pytest.mark.usefixtures("uploads_of_a_dead_worker")
def test_a_job_whose_uploads_cannot_be_removed_does_not_keep_those_of_others(
    builder: ArchiveBuilder, store: FakeS3, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One of these comes before the other job, and one after it.
    users = {keys.tag_of_user(user): user for user in map(str, range(200))}
    damaged = [keys.new_job_id(users[tag]) for tag in (min(users), max(users))]
    for number, job_id in enumerate(damaged):
        key = f"archives/{number}/archive.zip"
        upload_log = UploadLog.load(Checkpoints(redis).for_job(job_id))
        upload_log.begin(str(number), "archives", key)
        upload_log.add_upload(store.create_multipart_upload("archives", key))
    abort = store.abort_multipart_upload

    def reject(bucket: str, key: str, upload_id: str, **options: Any) -> None:
        if PLAN not in key:
            raise StorageError
        abort(bucket, key, upload_id, **options)

    monkeypatch.setattr(store, "abort_multipart_upload", reject)
    assert builder.remove_uploads_of_ended_jobs() == 1
    assert len(store.open_uploads) == len(damaged)


class DeadLetters:
    """Dead letters, of which three are old."""

    def delete_old(self, _: float) -> int:
        return 3


def make_cleanup(redis: Redis, storage: Any, queries: Any) -> Cleanup:
    dead_letters: Any = DeadLetters()
    return Cleanup(
        redis,
        queries,
        dead_letters,
        storage,
        bucket="archives",
        job_ttl=60,
        job_deadline=0,
    )


def test_every_step_of_the_cleanup_runs_although_the_storage_fails(
    redis: Redis, store: FakeS3, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fail(name: str) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            calls.append(name)
            raise StorageError(name)

        return call

    for name in ("list_multipart_uploads", "list_objects_v2"):
        monkeypatch.setattr(store, name, fail(name))
    with structlog.testing.capture_logs() as logs, pytest.raises(StorageError):
        make_cleanup(redis, store, queries).run()
    assert calls == ["list_multipart_uploads"] * 2 + ["list_objects_v2"]
    assert [entry["dead_letters"] for entry in logs if entry["event"] == "cleanup finished"] == [3]


def test_a_run_of_the_cleanup_ends_when_its_lock_has_expired(
    redis: Redis, store: FakeS3, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renew() -> None:
        raise LockNotOwnedError("expired")

    store.create_multipart_upload("archives", KEY)
    monkeypatch.setattr(store, "list_objects_v2", lambda *_, **__: pytest.fail("the run went on"))
    with pytest.raises(LockNotOwnedError):
        make_cleanup(redis, store, queries).run(renew)
