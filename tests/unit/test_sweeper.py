"""What a sweep finds and mends. Time passes by setting a score back, not by waiting."""

from __future__ import annotations

import pytest
from redis import Redis

from common.jobs.model import Artifact, JobSpec, Priority, Progress
from common.jobs.transitions import JobState
from common.store import keys
from common.store.jobs import JobStore, Limits
from common.store.queries import JobQueries
from common.store.sweeper import Sweeper
from tests.unit.conftest import RecordedWakeUps

BUSY = {"high": 7, "normal": 7, "low": 7}
EMPTY = dict.fromkeys(BUSY, 0)


@pytest.fixture
def limits() -> Limits:
    return Limits(max_attempts=2)


def queued(jobs: JobStore, user: str = "alice", priority: Priority = Priority.NORMAL) -> str:
    return jobs.create(user, JobSpec(file_ids=(1,), priority=priority)).job.id


def long_ago(redis: Redis, name: str, job_id: str, lane: str = "") -> None:
    """Set the job's time in one of the partition's sorted sets to the distant past."""
    key = keys.of_partition(name, keys.tag_of_job(job_id), lane)
    assert redis.zadd(key, {job_id: 1}, xx=True, ch=True) == 1


def test_a_silent_worker_loses_its_job_and_the_job_is_queued_again(
    jobs: JobStore,
    sweeper: Sweeper,
    queries: JobQueries,
    wake_ups: RecordedWakeUps,
    redis: Redis,
) -> None:
    job_id = queued(jobs)
    jobs.claim(job_id, "worker")
    assert sweeper.sweep(BUSY).recovered == 0
    long_ago(redis, "leases", job_id)
    assert sweeper.sweep(BUSY).recovered == 1
    job = queries.get(job_id)
    assert (job.status, job.attempt) == (JobState.QUEUED, 1)
    assert job.failure is not None
    assert job.failure.code == "WORKER_LOST"
    assert wake_ups.sent[-1] == (job_id, "normal")


def test_a_dead_workers_jobs_are_taken_before_their_leases_lapse(
    jobs: JobStore, sweeper: Sweeper
) -> None:
    jobs.claim(queued(jobs, user="alice"), "dead")
    jobs.claim(queued(jobs, user="bob"), "alive")
    assert sweeper.sweep(BUSY, dead=["dead"]).recovered == 1


def test_every_lease_is_believed_after_the_store_was_away(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    job_id = queued(jobs)
    jobs.claim(job_id, "worker")
    long_ago(redis, "leases", job_id)
    assert sweeper.sweep(BUSY, dead=["worker"], reclaim=False).recovered == 0


def test_a_job_that_kills_every_worker_ends_as_a_dead_letter(
    jobs: JobStore, sweeper: Sweeper, queries: JobQueries, redis: Redis
) -> None:
    job_id = queued(jobs)
    for _ in range(2):
        assert jobs.claim(job_id, "worker")
        long_ago(redis, "leases", job_id)
        sweeper.sweep(BUSY)
    assert queries.get(job_id).status is JobState.FAILED
    assert redis.zcard(keys.of_partition("dead", keys.tag_of_job(job_id))) == 1
    assert redis.llen(keys.attempts(job_id)) == 2


def test_an_archive_expires_after_its_time(
    jobs: JobStore, sweeper: Sweeper, queries: JobQueries, redis: Redis
) -> None:
    job_id = queued(jobs)
    claim = jobs.claim(job_id, "worker")
    assert claim
    archive = Artifact(bucket="b", key="k", name="n", size=1, content_type="t")
    jobs.complete(claim.lease, archive, Progress())
    assert sweeper.sweep(BUSY).expired == 0
    long_ago(redis, "expiring", job_id)
    assert sweeper.sweep(BUSY).expired == 1
    assert queries.get(job_id).status is JobState.EXPIRED
    assert sweeper.sweep(BUSY).expired == 0


def test_jobs_that_wait_legitimately_are_not_sent_again(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    for number in range(50):
        long_ago(redis, "hinted", queued(jobs, user=f"user-{number}"), "normal")
    assert sweeper.sweep(BUSY).resent == 0
    assert len(wake_ups.sent) == 50


def test_with_an_empty_queue_every_wake_up_still_out_is_lost(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    job_id = queued(jobs)
    assert sweeper.sweep(EMPTY).resent == 0
    long_ago(redis, "hinted", job_id, "normal")
    assert sweeper.sweep(EMPTY).resent == 1
    assert wake_ups.sent == [(job_id, "normal")] * 2
    assert sweeper.sweep(EMPTY).resent == 0


def test_an_overtaken_wake_up_is_lost_even_while_the_queue_is_busy(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    lost = queued(jobs, user="alice")
    long_ago(redis, "hinted", lost, "normal")
    jobs.claim(queued(jobs, user="bob"), "worker")
    sweeper.sweep(BUSY)
    assert sweeper.sweep(BUSY).resent == 1
    assert wake_ups.sent[-1] == (lost, "normal")


def test_a_job_that_waited_too_long_moves_to_the_next_lane(
    jobs: JobStore,
    sweeper: Sweeper,
    redis: Redis,
    wake_ups: RecordedWakeUps,
    queries: JobQueries,
) -> None:
    job_id = queued(jobs, priority=Priority.LOW)
    long_ago(redis, "waiting", job_id, "low")
    sweeper.sweep(BUSY)
    assert wake_ups.sent == [(job_id, "low"), (job_id, "normal")]
    assert queries.get(job_id).priority is Priority.LOW
    assert jobs.claim(job_id, "worker")
    assert redis.keys("jobs:waiting:*") == redis.keys("jobs:hinted:*") == []
