"""The job store on a cluster of three primaries, one of which dies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from common.errors import StorageError
from common.job_store import keys
from common.job_store.client import open_client
from common.job_store.cluster import Cluster, uptime
from common.job_store.dead_letters import DeadLetters
from common.job_store.deliveries import Deliveries
from common.job_store.jobs import JobStore, Limits
from common.job_store.pause import Pause
from common.job_store.periodic_task_lock import PeriodicTaskLock
from common.job_store.queries import JobQueries
from common.job_store.queue_statistics import QueueStatistics
from common.job_store.state_log import StateLog, delete_idle_consumers, trim
from common.job_store.state_log_backlog import Backlog, read_backlogs
from common.job_store.subscription import EventSubscription, open_subscriptions
from common.job_store.sweeper import Sweeper
from common.job_store.worker_registry import DEAD_AFTER, WorkerRegistration, WorkerRegistry
from common.jobs.model import PRIORITIES, Failure, JobSpec
from common.jobs.transitions import JobState
from stack.process import wait_until
from tests.support.valkey_topologies import Node, cluster
from tests.unit.conftest import RecordedWakeUps
from worker.circuit_breakers import CircuitBreaker

USERS = [f"user-{number}" for number in range(40)]


def busy() -> dict[str, int]:
    return dict.fromkeys(PRIORITIES, 7)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Sequence[Node]]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def redis(running: tuple[str, Sequence[Node]]) -> Iterator[Redis]:
    client = open_client(running[0], timeout=5)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def wake_ups() -> RecordedWakeUps:
    return RecordedWakeUps()


@pytest.fixture
def jobs(redis: Redis, wake_ups: RecordedWakeUps) -> JobStore:
    return JobStore(redis, wake_ups, Limits(max_attempts=1))


def create_all(jobs: JobStore) -> list[str]:
    spec = JobSpec(file_ids=(1,), callback_url="https://example.com/")
    return [jobs.create(user, spec).job.id for user in USERS]


def test_the_cleanup_lock_works_on_a_cluster(redis: Redis) -> None:
    first, second = PeriodicTaskLock(redis), PeriodicTaskLock(redis)
    assert first.run_if_due(lambda renew: renew())
    assert not second.run_if_due(lambda _: None)


def test_circuit_breakers_work_on_a_cluster(redis: Redis) -> None:
    breaker = CircuitBreaker("storage", redis, open_seconds=0.3)
    assert breaker.allows_attempt()
    assert [breaker.record_failure(job, StorageError()) for job in "abc"] == [False, False, True]
    assert not breaker.allows_attempt()
    wait_until(breaker.allows_attempt, "the trial", 5)
    breaker.record_success()
    assert breaker.allows_attempt()
    assert breaker.allows_attempt()


def test_jobs_spread_over_all_nodes_and_statistics_count_them_all(
    redis: Redis, jobs: JobStore, wake_ups: RecordedWakeUps
) -> None:
    assert isinstance(redis, Cluster)
    ids = create_all(jobs)
    assert len({jobs.server_of(job_id) for job_id in ids}) == 3
    for job_id in ids[:10]:
        assert jobs.claim(job_id, "worker")
    figures = QueueStatistics(redis).read()
    assert (sum(figures.waiting.values()), figures.processing) == (30, 10)
    assert [job.id for job in JobQueries(redis).get_many(ids)] == ids
    sweeper = Sweeper(redis, wake_ups, Limits(), max_wait=300)
    time.sleep(DEAD_AFTER / 1000)
    assert sweeper.sweep(busy, dead=["worker"]).recovered == 0
    assert QueueStatistics(redis).read().dead_letters == 10
    assert uptime(redis) >= 0


def test_a_users_jobs_are_listed_by_the_node_that_holds_them(redis: Redis, jobs: JobStore) -> None:
    for number in range(12):
        user = f"lister-{number}"
        job = jobs.create(user, JobSpec(file_ids=(1,))).job
        for status, expected in ((JobState.QUEUED, [job.id]), (JobState.FAILED, [])):
            page, end = JobQueries(redis).page(user, before=None, limit=1, status=status)
            assert ([found.id for found in page], end) == (expected, None)


def test_state_log_webhooks_dead_letters_and_pause_work_on_all_partitions(
    redis: Redis, jobs: JobStore
) -> None:
    state_log = StateLog(redis, "group", "reader")
    state_log.create_group()
    ids = create_all(jobs)
    failure = Failure(code="NETWORK_ERROR", message="", retryable=True)
    for job_id in ids:
        claim = jobs.claim(job_id, "worker")
        assert claim
        jobs.fail(claim.lease, failure)
    entries = state_log.read(count=1000)
    assert sorted(e.job.id for e in entries if e.job.terminal) == sorted(ids)
    deliveries = Deliveries(redis)
    deliveries.schedule([entry for entry in entries if entry.job.terminal])
    assert read_backlogs(redis)["group"].entries == len(entries)
    state_log.ack(entries)
    trim(redis)
    assert read_backlogs(redis) == {"group": Backlog()}
    assert delete_idle_consumers(redis) == 0
    assert state_log.read(count=1000) == state_log.claim_idle(idle_ms=0, count=10) == []
    assert len(deliveries.claim(limit=100, lease=60)) == len(ids)
    letters = DeadLetters(redis, jobs)
    page, more = letters.page(before=None, limit=15)
    rest, _ = letters.page(before=(page[-1].since, page[-1].job.id), limit=100)
    assert more
    assert {letter.job.id for letter in (*page, *rest)} == set(ids)
    Pause(redis).pause()
    letters.requeue(ids[0])
    assert Pause(redis).paused()
    assert jobs.claim(ids[0], "worker") is None


def test_a_worker_registers_with_one_connection(running: tuple[str, Sequence[Node]]) -> None:
    own = open_client(running[0], timeout=2, own_connection=True)
    watcher = open_client(running[0], timeout=2)
    WorkerRegistration(own, "alice", slots=4, running=lambda: ()).heartbeat()
    assert [worker.name for worker in WorkerRegistry(watcher).registered()] == ["alice"]
    time.sleep(1.6)
    registry = WorkerRegistry(watcher)
    assert registry.dead() == registry.dead() == []
    own.close()
    time.sleep(0.1)
    assert registry.dead() == []  # The first sighting.
    assert registry.dead() == ["alice"]


def test_subscriptions_receive_changes_of_jobs_on_every_node(redis: Redis, jobs: JobStore) -> None:
    ids = create_all(jobs)
    subscriptions = _watching(redis, ids)
    seen = _receive(subscriptions, len(ids))
    assert {job_id: fields["status"] for job_id, fields in seen} == dict.fromkeys(ids, "queued")
    for job_id in ids:
        jobs.cancel(job_id)
    seen = _receive(subscriptions, len(ids))
    assert {job_id: fields["status"] for job_id, fields in seen} == dict.fromkeys(ids, "cancelled")
    for subscription in subscriptions:
        subscription.close()


def test_a_replica_takes_over_and_no_accepted_job_is_lost(
    running: tuple[str, Sequence[Node]], redis: Redis, jobs: JobStore
) -> None:
    ids = create_all(jobs)
    # Replication is asynchronous: only what has reached a replica survives.
    time.sleep(0.5)
    primary, *_ = running[1]
    primary.process.kill()
    killed = time.monotonic()
    wait_until(lambda: _works(redis, jobs), "the cluster to go on", timeout=30)
    print(f"\nthe cluster went on {time.monotonic() - killed:.1f} s after the death of a primary")
    assert [job.id for job in JobQueries(redis).get_many(ids)] == ids
    assert all(jobs.claim(job_id, "worker") for job_id in ids)
    subscriptions = _watching(redis, ids)
    assert len(_receive(subscriptions, len(ids))) == len(ids)
    for subscription in subscriptions:
        subscription.close()


def _works(redis: Redis, jobs: JobStore) -> bool:
    try:
        QueueStatistics(redis).read()
        for tag in keys.all_tags():
            redis.set(f"probe:{tag}", "1")
    except RedisError:
        return False
    return True


def _watching(redis: Redis, ids: Sequence[str]) -> list[EventSubscription]:
    subscriptions = open_subscriptions(redis)
    assert len(subscriptions) == 16
    for number, subscription in enumerate(subscriptions):
        subscription.connect()
        subscription.watch([job_id for job_id in ids if int(job_id[1], 16) == number])
    return subscriptions


def _receive(subscriptions: Sequence[EventSubscription], count: int) -> list[Any]:
    """Return the first ``count`` changes of the subscriptions: job id and fields."""
    seen: list[Any] = []
    deadline = time.monotonic() + 10
    while len(seen) < count:
        assert time.monotonic() < deadline, f"{len(seen)} of {count}"
        for subscription in subscriptions:
            subscription.flush()
            subscription.receive(lambda *change: seen.append(change))
        time.sleep(0.01)
    return seen
