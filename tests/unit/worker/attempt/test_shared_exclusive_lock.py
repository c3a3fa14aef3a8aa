"""Jobs that were lost with their workers repeatedly run alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redis import Redis

from common.job_store import keys
from common.job_store.jobs import RESERVATION, JobStore
from common.job_store.queries import JobQueries
from common.job_store.sweeper import Sweeper
from common.jobs.model import Artifact, JobSpec
from common.jobs.transitions import JobState
from tests.unit.conftest import RecordedWakeUps
from tests.unit.worker.attempt.test_runner import FastClock
from worker.attempt.heartbeat import HeartbeatThread
from worker.attempt.runner import AttemptRunner, Backoff
from worker.attempt.shared_exclusive_lock import SharedExclusiveLock

ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")


def test_a_job_that_was_lost_twice_waits_for_the_others_and_lets_none_start_beside_it(
    jobs: JobStore, queries: JobQueries, redis: Redis, wake_ups: RecordedWakeUps
) -> None:
    first, suspect, last = (
        jobs.create(user, JobSpec(file_ids=(1,))).job.id for user in ("alice", "bob", "carol")
    )
    redis.hset(keys.status(suspect), "losses", 2)
    running: set[str] = set()
    together: list[set[str]] = []
    started = {job_id: threading.Event() for job_id in (first, suspect, last)}
    may_end = {job_id: threading.Event() for job_id in (first, suspect, last)}

    def build(claim: Any, _: Any) -> Artifact:
        job_id = claim.job.id
        running.add(job_id)
        together.append(set(running))
        started[job_id].set()
        assert may_end[job_id].wait(10)
        running.remove(job_id)
        return ARTIFACT

    heartbeat = HeartbeatThread(jobs, interval=60, on_heartbeat=lambda: None)
    runner = AttemptRunner(jobs, heartbeat, build, name="worker", deadline=60, backoff=Backoff())
    by_id = {wake_up.job_id: wake_up for wake_up in wake_ups.wake_ups}
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(runner.run_download, by_id[first])]
        assert started[first].wait(10)
        runs.append(pool.submit(runner.run_download, by_id[suspect]))
        while not redis.zcard(keys.of_partition("retries", keys.tag_of_job(suspect))):
            assert not runs[-1].done()
        runs.append(pool.submit(runner.run_download, by_id[last]))
        assert not started[suspect].wait(0.2)
        may_end[first].set()
        assert started[suspect].wait(10)
        assert not started[last].wait(0.2)
        may_end[suspect].set()
        assert started[last].wait(10)
        may_end[last].set()
        for run in runs:
            run.result(10)
    assert together == [{first}, {suspect}, {last}]
    assert {queries.get(i).status for i in (first, suspect, last)} == {JobState.COMPLETED}


class FastCondition:
    """The condition of a single thread, for which nothing changes while it waits."""

    def __init__(self, clock: FastClock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        if not predicate():
            self._clock.sleep(timeout)
        return predicate()

    def notify_all(self) -> None:
        return


def test_a_worker_whose_jobs_take_long_lets_another_one_try_and_waits_longer_each_time(
    jobs: JobStore,
    queries: JobQueries,
    redis: Redis,
    wake_ups: RecordedWakeUps,
    sweeper: Sweeper,
) -> None:
    long, suspect = (jobs.create(user, JobSpec(file_ids=(1,))).job.id for user in ("ann", "bob"))
    redis.hset(keys.status(suspect), "losses", 2)
    clock = FastClock()
    waited: list[float] = []

    def build(claim: Any, _: Any) -> Artifact:
        while claim.job.id == long and len(waited) < 4:
            began = clock.now
            runner.run_download(wake_ups.wake_ups[-1])
            waited.append(clock.now - began)
            assert queries.get(suspect).status is JobState.QUEUED
            redis.zadd(keys.of_partition("retries", keys.tag_of_job(suspect)), {suspect: 1})
            assert sweeper.sweep(lambda: None).promoted == 1
            assert wake_ups.sent[-1] == (suspect, "normal")
        return ARTIFACT

    runner = AttemptRunner(
        jobs,
        HeartbeatThread(jobs, interval=60, on_heartbeat=lambda: None),
        build,
        name="worker",
        deadline=60,
        backoff=Backoff(),
        clock=clock,
        condition=lambda: FastCondition(clock),  # type: ignore[return-value]
    )
    runner.run_download(wake_ups.wake_ups[0])
    assert waited == [RESERVATION, 2 * RESERVATION, 4 * RESERVATION, 8 * RESERVATION]
    runner.run_download(wake_ups.wake_ups[-1])
    assert queries.get(suspect).status is JobState.COMPLETED


def test_no_job_starts_while_one_waits_to_run_alone() -> None:
    lock = SharedExclusiveLock()
    with lock.shared(1) as first:
        assert first
        with lock.exclusive() as wait_until_alone:
            assert not wait_until_alone(0.01)
            with lock.shared(0.01) as second:
                assert not second
    with lock.shared(1) as third:
        assert third


def test_only_one_job_runs_alone() -> None:
    lock = SharedExclusiveLock()
    with lock.exclusive() as wait_until_alone, lock.exclusive() as wait_too:
        assert wait_until_alone(1)
        assert not wait_too(0.01)
    with lock.exclusive() as wait_until_alone:
        assert wait_until_alone(1)
