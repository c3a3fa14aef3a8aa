"""What else the sweep thread does must not keep it from recovering jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from common.job_store import keys
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.statistics_log import StatisticsLog
from common.job_store.sweeper import Sweeper, SweepResult
from common.job_store.worker_registry import WorkerRegistry
from common.jobs.model import PRIORITIES, Failure, JobSpec
from common.jobs.transitions import JobState
from worker.maintenance import sweep_thread
from worker.maintenance.sweep_thread import SweepThread


@pytest.fixture
def thread(redis: Redis, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch) -> SweepThread:
    # fakeredis has no INFO.
    monkeypatch.setattr(sweep_thread, "uptime", lambda _: 1_000)
    dispatcher: Any = SimpleNamespace(queue_lengths=lambda: dict.fromkeys(PRIORITIES, 0))
    return SweepThread(
        sweeper,
        client=redis,
        dispatcher=dispatcher,
        workers=WorkerRegistry(redis),
        interval=1.0,
        lease=10.0,
    )


def test_a_round_records_the_statistics(thread: SweepThread, redis: Redis) -> None:
    thread.step()
    thread.step()
    assert len(StatisticsLog(redis).newest(10)) == 1


def test_a_full_job_store_is_swept_although_it_takes_no_statistics(
    thread: SweepThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(_: StatisticsLog) -> bool:
        raise OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'.")

    swept: list[SweepResult] = []
    original = thread._sweeper.sweep

    def sweep(*args: Any, **options: Any) -> SweepResult:
        swept.append(original(*args, **options))
        return swept[-1]

    monkeypatch.setattr(thread._sweeper, "sweep", sweep)
    # How long this machine takes for a round decides nothing here.
    monkeypatch.setattr(thread, "_leases_are_reliable_until", lambda: 0.0)
    monkeypatch.setattr(StatisticsLog, "record_if_due", reject)
    lost: list[bool] = []
    monkeypatch.setattr(thread._stall_detector, "record_failure", lambda: lost.append(True))
    thread.step()
    assert (swept, lost) == ([SweepResult()], [])


@pytest.fixture
def lost(thread: SweepThread, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record the failures that the stall detector learns of."""
    monkeypatch.setattr(thread, "_leases_are_reliable_until", lambda: time.time() + 60)
    lost: list[bool] = []
    monkeypatch.setattr(thread._stall_detector, "record_failure", lambda: lost.append(True))
    return lost


@pytest.mark.parametrize(
    ("error", "expected"),
    [(RedisConnectionError("gone"), [True]), (ResponseError("WRONGTYPE"), []), (ValueError(), [])],
    ids=repr,
)
def test_only_an_outage_makes_expired_leases_unreliable(
    thread: SweepThread,
    lost: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    expected: list[bool],
) -> None:
    monkeypatch.setattr(thread._sweeper, "sweep", raising(error))
    thread.step()
    assert lost == expected


@pytest.mark.parametrize("error", [ResponseError("NOPERM"), ValueError()], ids=repr)
@pytest.mark.usefixtures("lost")
def test_jobs_are_swept_although_dead_workers_cannot_be_found(
    thread: SweepThread,
    jobs: JobStore,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    job_id = jobs.create("alice", JobSpec(file_ids=(1,))).job.id
    jobs.claim(job_id, "worker")
    # The last sweep may not have seen that it expired.
    expired = time.time() * 1000 - 500
    redis.zadd(keys.of_partition("leases", keys.tag_of_job(job_id)), {job_id: expired})
    monkeypatch.setattr(WorkerRegistry, "dead", raising(error))
    monkeypatch.setattr(sweep_thread, "trim", raising(error))
    thread.step()
    assert JobQueries(redis).get(job_id).status is JobState.QUEUED
    assert len(StatisticsLog(redis).newest(10)) == 1


def test_partitions_are_swept_although_another_node_of_the_cluster_is_unavailable(
    thread: SweepThread, jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = jobs.create("alice", JobSpec(file_ids=(1,))).job.id
    claim = jobs.claim(job_id, "worker")
    assert claim is not None
    jobs.retry_later(claim.lease, Failure(code="E", message="", retryable=True), delay=60)
    retries = keys.of_partition("retries", keys.tag_of_job(job_id))
    redis.zadd(retries, {job_id: 1})
    monkeypatch.setattr(sweep_thread, "Cluster", Redis)
    monkeypatch.setattr(sweep_thread, "uptime", raising(RedisConnectionError("gone")))
    monkeypatch.setattr("common.job_store.sweeper.node_of", raising(RedisConnectionError("gone")))
    lost: list[bool] = []
    monkeypatch.setattr(thread._stall_detector, "record_failure", lambda: lost.append(True))
    with structlog.testing.capture_logs() as logs:
        thread._sweep()
    assert redis.zcard(retries) == 0
    assert lost == [True]
    assert [entry["event"] for entry in logs] == [
        "a node of the job store is unavailable",
        "empty queues not noted",
    ]


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail
