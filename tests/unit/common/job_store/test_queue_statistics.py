"""Statistics of the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from common.job_store import keys
from common.job_store.jobs import JobStore
from common.job_store.queue_statistics import QueueStatistics
from common.job_store.worker_registry import WorkerRegistration
from common.jobs.model import Artifact, Failure, JobSpec, Lease, Priority, Progress

#: Creates a job and returns its id.
Create = Callable[..., str]

ARTIFACT = Artifact(bucket="b", key="k", name="n", size=1, content_type="text/plain")


@pytest.fixture
def statistics(redis: Redis) -> QueueStatistics:
    return QueueStatistics(redis)


@pytest.fixture
def create(jobs: JobStore) -> Create:
    def make(user: str, priority: Priority = Priority.NORMAL, file_id: int = 1) -> str:
        return jobs.create(user, JobSpec(file_ids=(file_id,), priority=priority)).job.id

    return make


@pytest.fixture
def claim(jobs: JobStore) -> Callable[[str], Lease]:
    def claim_lease(job_id: str) -> Lease:
        claim = jobs.claim(job_id, "w")
        assert claim is not None
        return claim.lease

    return claim_lease


def test_statistics_of_an_empty_store_are_zero(statistics: QueueStatistics) -> None:
    read = statistics.read()
    assert read.waiting == {"high": 0, "normal": 0, "low": 0}
    assert read.oldest_wait is read.success_rate is read.duration(50) is None
    assert sum(read.waiting.values()) == read.completed == read.workers == 0


def test_statistics_of_all_partitions_are_summed(
    statistics: QueueStatistics,
    create: Create,
    claim: Callable[[str], Lease],
    jobs: JobStore,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # fakeredis has no INFO.
    monkeypatch.setattr("common.job_store.worker_registry._run_id", lambda _: "server")
    users = [f"user-{number}" for number in range(40)]
    assert len({keys.tag_of_user(user) for user in users}) > 10
    ids = [
        create(user, priority) for user, priority in zip(users, list(Priority) * 14, strict=False)
    ]
    jobs.complete(claim(ids[0]), ARTIFACT, Progress())
    jobs.complete(claim(ids[1]), ARTIFACT, Progress())
    broken = Failure(code="NETWORK_ERROR", message="", retryable=True)
    jobs.fail(claim(ids[2]), broken)
    jobs.retry_later(claim(ids[3]), broken, 60)
    jobs.cancel(ids[4])
    claim(ids[5])
    WorkerRegistration(redis, "w", slots=4, running=lambda: (ids[5],)).heartbeat()

    read = statistics.read()
    assert sum(read.waiting.values()) == 40 - 6
    assert read.waiting["high"] == sum(1 for job in ids[6:] if jobs_priority(redis, job) == "high")
    assert (read.completed, read.failed, read.cancelled) == (2, 1, 1)
    assert (read.processing, read.retrying, read.dead_letters, read.workers) == (1, 1, 1, 1)
    assert read.success_rate == pytest.approx(2 / 3)
    assert len(read.durations) == 2


def jobs_priority(redis: Redis, job_id: str) -> Any:
    return redis.hget(keys.status(job_id), "priority")


def test_the_oldest_wait_is_the_longest_over_all_priorities(
    statistics: QueueStatistics, create: Create, redis: Redis
) -> None:
    create("ann")
    old = create("bob", Priority.LOW)
    waiting = keys.of_partition("waiting", keys.tag_of_job(old), "low")
    redis.zincrby(waiting, -90_000, old)
    assert statistics.read().oldest_wait == pytest.approx(90, abs=5)


def test_percentiles_use_the_nearest_rank(statistics: QueueStatistics, redis: Redis) -> None:
    key = keys.of_partition("durations", keys.all_tags()[3])
    redis.rpush(key, *range(1, 101))
    read = statistics.read()
    assert [read.duration(percent) for percent in (50, 95, 99)] == [50, 95, 99]


def test_the_average_is_that_of_the_latest_durations(
    statistics: QueueStatistics, redis: Redis
) -> None:
    assert statistics.read().average_duration is None
    for number, duration in enumerate((100, 200, 900)):
        redis.rpush(keys.of_partition("durations", keys.all_tags()[number]), duration)
    assert statistics.read().average_duration == 400
