"""Shared archives: the object is deleted when the last job that needs it releases it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from common.errors import JobConflict, JobNotFound
from common.job_store import archive_references, keys
from common.job_store.archive_references import ArchiveReferences, ArchiveRemovals
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.sweeper import Sweeper
from common.jobs.model import Artifact, Failure, Job, JobSpec, Lease, Progress
from common.jobs.transitions import JobState

KEY = "archives/0123abcd/archive.zip"
BUCKET = "archives"
FAILURE = Failure(code="NETWORK_ERROR", message="The connection broke.", retryable=True)


def artifact(key: str = KEY, missing: int = 0) -> Artifact:
    return Artifact(
        bucket=BUCKET,
        key=key,
        name="a.zip",
        size=10,
        content_type="application/zip",
        missing_files=missing,
    )


class Shared:
    """Jobs of several users that need the same archive."""

    def __init__(self, redis: Redis, jobs: JobStore) -> None:
        self.jobs = jobs
        self.redis = redis
        self.references = ArchiveReferences(redis)
        self.removals = ArchiveRemovals(redis)
        self.deleted: list[str] = []

    def start(self, user: str, **spec: Any) -> Lease:
        """Return the lease of a running job that holds the archive."""
        job = self.jobs.create(user, JobSpec(file_ids=(1, 2), **spec)).job
        return self.claim(job.id)

    def claim(self, job_id: str) -> Lease:
        claim = self.jobs.claim(job_id, "worker")
        assert claim is not None
        assert self.references.hold(KEY, claim.lease, keep=3600)
        return claim.lease

    def complete(self, user: str, **spec: Any) -> Job:
        return self.jobs.complete(self.start(user, **spec), artifact(), Progress())

    def due(self) -> list[str]:
        return [entry for _, entry in self.removals.due(10)]

    def remove(self) -> float:
        return self.removals.remove(KEY, lambda: self.deleted.append(KEY))


@pytest.fixture
def shared(redis: Redis, jobs: JobStore) -> Shared:
    return Shared(redis, jobs)


def test_deleting_an_archive_expires_its_job(shared: Shared, queries: JobQueries) -> None:
    job = shared.complete("alice")
    deleted = shared.jobs.delete_archive(job.id)
    assert deleted == queries.get(job.id)
    assert deleted.status is JobState.EXPIRED
    assert deleted.version == job.version + 1
    assert (deleted.artifact, deleted.expires_at) == (None, None)
    assert deleted.archive_deleted_at is not None
    assert shared.due() == [f"{BUCKET}/{KEY}"]
    assert not shared.redis.exists(keys.of_partition("expiring", keys.tag_of_job(job.id)))


def test_deleting_an_archive_again_changes_nothing(shared: Shared) -> None:
    job = shared.complete("alice")
    assert shared.jobs.delete_archive(job.id) == shared.jobs.delete_archive(job.id)


def test_the_archive_of_an_expired_job_can_be_deleted(
    shared: Shared, redis: Redis, sweeper: Sweeper
) -> None:
    job = shared.complete("alice")
    redis.zadd(keys.of_partition("expiring", keys.tag_of_job(job.id)), {job.id: 1})
    assert sweeper.sweep(dict).expired == 1
    assert not shared.due()
    deleted = shared.jobs.delete_archive(job.id)
    assert (deleted.status, deleted.artifact) == (JobState.EXPIRED, None)
    assert shared.due() == [f"{BUCKET}/{KEY}"]


def test_a_job_without_an_archive_has_none_to_delete(shared: Shared) -> None:
    with pytest.raises(JobNotFound):
        shared.jobs.delete_archive(keys.new_job_id("alice"))
    job = shared.jobs.create("alice", JobSpec(file_ids=(1,))).job
    with pytest.raises(JobConflict):
        shared.jobs.delete_archive(job.id)
    lease = shared.claim(job.id)
    with pytest.raises(JobConflict):
        shared.jobs.delete_archive(job.id)
    shared.jobs.fail(lease, FAILURE)
    with pytest.raises(JobConflict):
        shared.jobs.delete_archive(job.id)


def test_a_job_keeps_its_archive_for_the_time_that_it_asked_for(
    shared: Shared, redis: Redis
) -> None:
    job = shared.complete("alice", expires_in=60)
    assert job.completed_at is not None
    assert job.expires_at == job.completed_at + 60_000
    kept = redis.pttl(keys.status(job.id))
    assert kept == pytest.approx(shared.jobs.limits.job_ttl * 1000 + 60_000, abs=5_000)


def test_an_archive_is_deleted_when_the_time_of_its_job_ends(
    shared: Shared, redis: Redis, sweeper: Sweeper
) -> None:
    job = shared.complete("alice", expires_in=60)
    redis.zadd(keys.of_partition("expiring", keys.tag_of_job(job.id)), {job.id: 1})
    sweeper.sweep(dict)
    assert shared.due() == [f"{BUCKET}/{KEY}"]
    assert shared.remove() == 0.0
    assert shared.deleted == [KEY]


def test_the_last_job_that_lets_a_shared_archive_go_deletes_it(shared: Shared) -> None:
    users = [shared.complete(user) for user in ("alice", "bob", "carol")]
    for job in users[:-1]:
        shared.jobs.delete_archive(job.id)
        assert shared.remove() > archive_references.RECHECK_INTERVAL
    assert not shared.deleted
    shared.jobs.delete_archive(users[-1].id)
    assert shared.remove() == 0.0
    assert shared.deleted == [KEY]


def test_a_job_that_is_still_being_built_keeps_the_archive(shared: Shared) -> None:
    job = shared.complete("alice")
    lease = shared.start("bob")
    shared.jobs.delete_archive(job.id)
    assert shared.remove() == archive_references.RECHECK_INTERVAL
    shared.jobs.fail(lease, FAILURE)
    assert shared.remove() == 0.0


def test_a_restarted_job_keeps_the_archive_by_its_new_reference(shared: Shared) -> None:
    job = shared.complete("alice")
    lease = shared.start("bob")
    shared.jobs.fail(lease, FAILURE)
    shared.jobs.delete_archive(job.id)
    stale = shared.references.try_to_remove(KEY)
    assert stale is not None
    # What a worker knows of the failed job is old: the job runs again.
    shared.jobs.restart(lease.job_id)
    again = shared.claim(lease.job_id)
    assert shared.references.try_to_remove(KEY, stale) == [f"{again.job_id} {again.fencing_token}"]
    assert shared.remove() == archive_references.RECHECK_INTERVAL


def test_a_restarted_job_lets_the_archive_go_that_lacks_files(shared: Shared) -> None:
    job = shared.jobs.complete(shared.start("alice"), artifact(missing=1), Progress())
    shared.jobs.restart(job.id)
    assert shared.due() == [f"{BUCKET}/{KEY}"]
    assert shared.remove() == archive_references.RECHECK_INTERVAL  # It may get the same one again.
    lease = shared.claim(job.id)
    shared.jobs.complete(lease, artifact(key="ab/other.zip"), Progress())
    assert shared.remove() == 0.0
    assert shared.deleted == [KEY]


def test_no_job_can_hold_an_archive_while_it_is_being_deleted(shared: Shared) -> None:
    job = shared.complete("alice")
    shared.jobs.delete_archive(job.id)
    waiting = shared.jobs.claim(
        shared.jobs.create("bob", JobSpec(file_ids=(1, 2))).job.id, "worker"
    )
    assert waiting is not None

    def delete() -> None:
        assert not shared.references.hold(KEY, waiting.lease, keep=3600)
        assert shared.remove() == archive_references.RECHECK_INTERVAL  # Another worker.
        shared.deleted.append(KEY)

    assert shared.removals.remove(KEY, delete) == 0.0
    assert shared.references.hold(KEY, waiting.lease, keep=3600)
    assert shared.deleted == [KEY]


def test_the_block_expires_when_the_deleting_worker_dies(
    shared: Shared, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_references, "REMOVAL_LOCK_EXPIRY", 0.05)
    assert shared.references.try_to_remove(KEY) == []
    lease = shared.jobs.claim(shared.jobs.create("bob", JobSpec(file_ids=(1,))).job.id, "worker")
    assert lease is not None
    deadline = time.monotonic() + 5
    while not shared.references.hold(KEY, lease.lease, keep=3600):
        assert time.monotonic() < deadline
    assert 0 < redis.ttl(keys.archive_references(KEY)) <= 3600


def test_a_worker_that_stalled_does_not_delete(redis: Redis) -> None:
    times = iter([0.0, archive_references.DELETE_TIMEOUT + 1])
    removals = ArchiveRemovals(redis, monotonic=lambda: next(times))
    deleted: list[str] = []
    assert removals.remove(KEY, lambda: deleted.append(KEY)) == archive_references.RECHECK_INTERVAL
    assert not deleted


def test_references_of_many_jobs_are_checked_page_by_page(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_references, "PAGE_SIZE", 2)
    leases = [shared.start(f"user-{number}") for number in range(7)]
    for lease in leases:
        shared.jobs.fail(lease, FAILURE)
    assert shared.remove() == 0.0


def test_a_job_whose_archive_has_another_key_does_not_keep_it(shared: Shared) -> None:
    lease = shared.start("alice")
    shared.jobs.complete(lease, artifact("jobs/1/2/a.zip"), Progress())
    assert shared.remove() == 0.0


def test_postponed_entries_are_due_later(shared: Shared, redis: Redis) -> None:
    job = shared.complete("alice")
    shared.jobs.delete_archive(job.id)
    now = time.time()
    removals = ArchiveRemovals(redis, clock=lambda: now)
    ((name, entry),) = removals.due(10)
    removals.postpone(name, entry, 60)
    assert removals.due(10) == []
    now += 61
    assert removals.due(10) == [(name, entry)]
    removals.done(name, entry)
    removals.postpone(name, entry, 0)
    assert removals.due(10) == []


def test_random_users_never_lose_an_archive_that_they_need(
    shared: Shared, queries: JobQueries
) -> None:
    """In any order of starts, ends, deletions and removals, a completed job has its object."""
    generator = random.Random(20)
    exists = False
    running: list[Lease] = []
    completed: list[Job] = []

    def start() -> None:
        job = shared.jobs.create(f"user-{generator.random()}", JobSpec(file_ids=(1,))).job
        claim = shared.jobs.claim(job.id, "worker")
        assert claim is not None
        if shared.references.hold(KEY, claim.lease, keep=3600):
            running.append(claim.lease)

    def complete() -> None:
        nonlocal exists
        if running:
            exists = True  # Found or built.
            lease = running.pop(generator.randrange(len(running)))
            completed.append(shared.jobs.complete(lease, artifact(), Progress()))

    def fail() -> None:
        if running:
            shared.jobs.fail(running.pop(generator.randrange(len(running))), FAILURE)

    def let_go() -> None:
        if completed:
            shared.jobs.delete_archive(completed.pop(generator.randrange(len(completed))).id)

    def remove() -> None:
        def delete() -> None:
            nonlocal exists
            generator.choice(steps)()
            exists = False

        shared.removals.remove(KEY, delete)

    steps: list[Callable[[], None]] = [start, complete, fail, let_go]
    for _ in range(400):
        generator.choice([*steps, remove])()
        assert exists or not completed
    for job in completed:
        shared.jobs.delete_archive(job.id)
    for lease in running:
        shared.jobs.fail(lease, FAILURE)
    assert shared.remove() == 0.0
