"""What dead attempts left in the bucket goes; what somebody still needs stays."""

from __future__ import annotations

import uuid

import pytest
from redis import Redis

from common.job_store import keys
from common.job_store import state_log as journal_module
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

BROKEN = Failure(code="NETWORK_ERROR", message="", retryable=True)


@pytest.fixture
def redis(valkey: Valkey) -> Redis:
    client = open_client(valkey.url, timeout=5)
    client.flushall()
    return client


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, RecordedWakeUps())


@pytest.fixture
def upkeep(redis: Redis, jobs: JobStore, buckets: Buckets) -> Cleanup:
    return Cleanup(
        redis,
        JobQueries(redis),
        DeadLetters(redis, jobs),
        buckets.store,
        bucket=buckets.archives,
        job_ttl=60,
    )


def started(jobs: JobStore, number: int) -> Job:
    job = jobs.create(f"user-{number}", JobSpec(file_ids=(number,))).job
    claim = jobs.claim(job.id, "worker")
    assert claim
    return claim.job


def again(jobs: JobStore, job: Job) -> Job:
    """The job's next attempt, after this one was lost."""
    jobs.hand_back(lease_of(job))
    claim = jobs.claim(job.id, "worker")
    assert claim
    return claim.job


def lease_of(job: Job) -> Lease:
    return Lease(job_id=job.id, fencing_token=job.fencing_token)


def place(job: Job, token: int | None = None) -> str:
    return f"jobs/{job.id}/{token or job.fencing_token}/a.zip"


def test_only_uploads_of_running_attempts_stay(
    jobs: JobStore, upkeep: Cleanup, buckets: Buckets
) -> None:
    live, ended = started(jobs, 1), started(jobs, 2)
    superseded = again(jobs, started(jobs, 3))
    jobs.fail(lease_of(ended), BROKEN)
    stranger = f"jobs/{uuid.uuid4()}/1/a.zip"
    for key in (place(live), place(ended), place(superseded), place(superseded, 1), stranger):
        buckets.store.create_multipart_upload(buckets.archives, key)
    assert upkeep.run().uploads == 2
    left = {upload.key for upload in buckets.store.list_multipart_uploads(buckets.archives, "")}
    assert left == {place(live), place(superseded), stranger}
    assert upkeep.run().uploads == 0


def test_an_upload_whose_id_was_lost_goes_unless_its_archive_is_being_built(
    redis: Redis, upkeep: Cleanup, buckets: Buckets
) -> None:
    lost, building, to_be_resumed = (f"archives/{n}/archive.zip" for n in ("one", "two", "three"))
    for key in (lost, building, to_be_resumed):
        buckets.store.create_multipart_upload(buckets.archives, key)
    assert RedisBuildLock(redis, "two", "somebody").acquire()
    checkpoint = Checkpoints(redis).for_job(str(uuid.uuid4()))
    UploadLog(checkpoint).begin("three", buckets.archives, to_be_resumed)
    assert upkeep.run().uploads == 1
    left = {upload.key for upload in buckets.store.list_multipart_uploads(buckets.archives, "")}
    assert left == {building, to_be_resumed}
    # The place is free for whoever wants to build there.
    assert RedisBuildLock(redis, "one", "somebody").acquire()


def test_only_archives_that_a_job_points_at_or_may_yet_stay(
    jobs: JobStore, upkeep: Cleanup, buckets: Buckets
) -> None:
    live, done = started(jobs, 1), again(jobs, started(jobs, 2))
    ended = started(jobs, 3)
    jobs.cancel(ended.id)
    artifact = Artifact(
        bucket=buckets.archives, key=place(done), name="a.zip", size=1, content_type="t"
    )
    jobs.complete(lease_of(done), artifact, Progress())
    composed = "archives/plan/archive.zip"
    for key in (place(live), place(done), place(done, 1), place(ended), composed):
        buckets.store.put_object(buckets.archives, key, b"x")
    assert upkeep.run().archives == 2
    left = {entry.key for entry in buckets.store.list_objects_v2(buckets.archives)}
    assert left == {place(live), place(done), composed}


def test_old_dead_letters_and_readers_that_are_gone_are_forgotten(
    jobs: JobStore, redis: Redis, upkeep: Cleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "GONE_AFTER", -1)
    busy, idle = StateLog(redis, "group", "busy"), StateLog(redis, "group", "idle")
    busy.join()
    idle.read(count=1)
    dead = started(jobs, 1)
    busy.read(count=10)
    jobs.fail(lease_of(dead), BROKEN)
    tag = keys.tag_of_job(dead.id)
    assert upkeep.run().dead_letters == 0
    redis.zadd(keys.of_partition("dead_letters", tag), {dead.id: 1})
    assert upkeep.run().dead_letters == 1
    stream = keys.of_partition("state_log", tag)
    assert [reader["name"] for reader in redis.xinfo_consumers(stream, "group")] == ["busy"]
