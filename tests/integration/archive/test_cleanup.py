"""The cleanup of the bucket after failed attempts."""

from __future__ import annotations

import time
import uuid

import pytest
from redis import Redis

from common.job_store import keys, state_log
from common.job_store.build_lock import RedisBuildLock
from common.job_store.checkpoints import Checkpoints
from common.job_store.client import open_client
from common.job_store.dead_letters import DeadLetters
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.state_log import StateLog
from common.jobs.model import Artifact, Failure, Job, JobSpec, Lease, Progress
from stack.services import Valkey
from tests.integration.archive.conftest import Buckets
from tests.unit.conftest import RecordedWakeUps
from worker.archive.composing.upload_log import UploadLog
from worker.maintenance.cleanup import Cleanup

NETWORK_FAILURE = Failure(code="NETWORK_ERROR", message="", retryable=True)


@pytest.fixture
def redis(valkey: Valkey) -> Redis:
    client = open_client(valkey.url, timeout=5)
    client.flushall()
    return client


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, RecordedWakeUps())


def make_cleanup(
    redis: Redis, jobs: JobStore, buckets: Buckets, *, job_deadline: float = 0
) -> Cleanup:
    return Cleanup(
        redis,
        JobQueries(redis),
        DeadLetters(redis, jobs),
        buckets.storage,
        bucket=buckets.archives,
        job_ttl=60,
        job_deadline=job_deadline,
    )


@pytest.fixture
def cleanup(redis: Redis, jobs: JobStore, buckets: Buckets) -> Cleanup:
    return make_cleanup(redis, jobs, buckets)


def start_job(jobs: JobStore, number: int) -> Job:
    job = jobs.create(f"user-{number}", JobSpec(file_ids=(number,))).job
    claim = jobs.claim(job.id, "worker")
    assert claim
    return claim.job


def start_again(jobs: JobStore, job: Job) -> Job:
    """Start the job's next attempt after the worker of this one was lost."""
    jobs.return_to_queue(lease_of(job))
    claim = jobs.claim(job.id, "worker")
    assert claim
    return claim.job


def lease_of(job: Job) -> Lease:
    return Lease(job_id=job.id, fencing_token=job.fencing_token)


def archive_key(job: Job, token: int | None = None) -> str:
    return f"jobs/{job.id}/{token or job.fencing_token}/a.zip"


def test_cleanup_keeps_only_uploads_of_running_attempts(
    jobs: JobStore, cleanup: Cleanup, buckets: Buckets
) -> None:
    running, ended = start_job(jobs, 1), start_job(jobs, 2)
    superseded = start_again(jobs, start_job(jobs, 3))
    jobs.fail(lease_of(ended), NETWORK_FAILURE)
    unknown = f"jobs/{uuid.uuid4()}/1/a.zip"
    for key in (
        archive_key(running),
        archive_key(ended),
        archive_key(superseded),
        archive_key(superseded, 1),
        unknown,
    ):
        buckets.storage.create_multipart_upload(buckets.archives, key)
    assert cleanup.run().uploads == 2
    remaining = {
        upload.key for upload in buckets.storage.list_multipart_uploads(buckets.archives, "")
    }
    assert remaining == {archive_key(running), archive_key(superseded), unknown}
    assert cleanup.run().uploads == 0


def test_cleanup_aborts_an_upload_without_a_log_unless_its_archive_is_being_built(
    redis: Redis, cleanup: Cleanup, buckets: Buckets
) -> None:
    lost, building, to_be_resumed = (f"archives/{n}/archive.zip" for n in ("one", "two", "three"))
    for key in (lost, building, to_be_resumed):
        buckets.storage.create_multipart_upload(buckets.archives, key)
    assert RedisBuildLock(redis, "two", "another job").acquire()
    checkpoint = Checkpoints(redis).for_job(str(uuid.uuid4()))
    UploadLog(checkpoint).begin("three", buckets.archives, to_be_resumed)
    assert cleanup.run().uploads == 1
    remaining = {
        upload.key for upload in buckets.storage.list_multipart_uploads(buckets.archives, "")
    }
    assert remaining == {building, to_be_resumed}
    # The lock is free for other jobs.
    assert RedisBuildLock(redis, "one", "another job").acquire()


def test_cleanup_keeps_an_upload_that_began_during_an_outage_of_the_job_store(
    redis: Redis, jobs: JobStore, buckets: Buckets
) -> None:
    key = "archives/unlogged/archive.zip"
    buckets.storage.create_multipart_upload(buckets.archives, key)
    assert make_cleanup(redis, jobs, buckets, job_deadline=60).run().uploads == 0
    (upload,) = buckets.storage.list_multipart_uploads(buckets.archives, key)
    assert upload.initiated is not None
    time.sleep(1.1)  # The storage gives the time in whole seconds.
    assert make_cleanup(redis, jobs, buckets, job_deadline=0.05).run().uploads == 1


def test_cleanup_keeps_only_archives_that_jobs_need(
    jobs: JobStore, cleanup: Cleanup, buckets: Buckets
) -> None:
    running, done = start_job(jobs, 1), start_again(jobs, start_job(jobs, 2))
    ended = start_job(jobs, 3)
    jobs.cancel(ended.id)
    artifact = Artifact(
        bucket=buckets.archives, key=archive_key(done), name="a.zip", size=1, content_type="t"
    )
    jobs.complete(lease_of(done), artifact, Progress())
    composed = "archives/plan/archive.zip"
    for key in (
        archive_key(running),
        archive_key(done),
        archive_key(done, 1),
        archive_key(ended),
        composed,
    ):
        buckets.storage.put_object(buckets.archives, key, b"x")
    assert cleanup.run().archives == 2
    remaining = {entry.key for entry in buckets.storage.list_objects_v2(buckets.archives)}
    assert remaining == {archive_key(running), archive_key(done), composed}


def test_cleanup_deletes_old_dead_letters_and_readers_that_are_gone(
    jobs: JobStore, redis: Redis, cleanup: Cleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_log, "IDLE_AFTER", -1)
    busy, idle = StateLog(redis, "group", "busy"), StateLog(redis, "group", "idle")
    busy.create_group()
    idle.read(count=1)
    dead = start_job(jobs, 1)
    busy.read(count=10)
    jobs.fail(lease_of(dead), NETWORK_FAILURE)
    tag = keys.tag_of_job(dead.id)
    assert cleanup.run().dead_letters == 0
    redis.zadd(keys.of_partition("dead_letters", tag), {dead.id: 1})
    assert cleanup.run().dead_letters == 1
    stream = keys.of_partition("state_log", tag)
    assert [reader["name"] for reader in redis.xinfo_consumers(stream, "group")] == ["busy"]
