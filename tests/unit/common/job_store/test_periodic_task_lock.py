"""The periodic cleanup runs on one worker at a time, and once per interval."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.periodic_task_lock import PeriodicTaskLock


class Runs:
    """A cleanup that counts its runs and those that run at the same time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.count = 0
        self.max_concurrent = 0
        self._seconds = seconds
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, _renew: Callable[[], object]) -> None:
        with self._lock:
            self.count += 1
            self._running += 1
            self.max_concurrent = max(self.max_concurrent, self._running)
        time.sleep(self._seconds)
        with self._lock:
            self._running -= 1


def expire(redis: Redis, key: str) -> None:
    """Let a key expire now."""
    redis.pexpire(key, 1)
    time.sleep(0.01)
    assert not redis.exists(key)


def test_two_workers_never_clean_up_at_the_same_time(redis: Redis) -> None:
    runs = Runs(seconds=0.02)

    def work(_: int) -> int:
        lock = PeriodicTaskLock(redis, interval=0.001)
        return sum(lock.run_if_due(runs) for _ in range(10))

    with ThreadPoolExecutor(4) as workers:
        completed = sum(workers.map(work, range(4)))
    assert completed == runs.count > 1
    assert runs.max_concurrent == 1


def test_a_second_worker_skips_the_cleanup_while_the_first_one_runs_it(redis: Redis) -> None:
    second, skipped = PeriodicTaskLock(redis), Runs()

    def cleanup(_renew: Callable[[], object]) -> None:
        assert not second.run_if_due(skipped)

    assert PeriodicTaskLock(redis).run_if_due(cleanup)
    assert skipped.count == 0


def test_the_cleanup_runs_once_per_interval_for_all_workers_together(redis: Redis) -> None:
    first, second, runs = (
        PeriodicTaskLock(redis, interval=60),
        PeriodicTaskLock(redis, interval=60),
        Runs(),
    )
    assert first.run_if_due(runs)
    assert not first.run_if_due(runs)
    assert not second.run_if_due(runs)
    assert 0 < redis.pttl(keys.CLEANUP_DONE) <= 60_000
    expire(redis, keys.CLEANUP_DONE)
    assert second.run_if_due(runs)
    assert runs.count == 2


def test_the_lock_of_a_dead_worker_expires(redis: Redis) -> None:
    assert redis.lock(keys.CLEANUP_LOCK, timeout=60).acquire(blocking=False)
    lock, runs = PeriodicTaskLock(redis), Runs()
    assert not lock.run_if_due(runs)
    expire(redis, keys.CLEANUP_LOCK)
    assert lock.run_if_due(runs)


def test_a_failed_cleanup_releases_the_lock_and_is_due_again(redis: Redis) -> None:
    def fail(_renew: Callable[[], object]) -> None:
        raise ConnectionError

    lock = PeriodicTaskLock(redis)
    with pytest.raises(ConnectionError):
        lock.run_if_due(fail)
    assert lock.run_if_due(Runs())


def test_a_long_cleanup_keeps_the_lock_by_renewing_it(redis: Redis) -> None:
    second = PeriodicTaskLock(redis)

    def cleanup(renew: Callable[[], object]) -> None:
        for _ in range(3):
            redis.pexpire(keys.CLEANUP_LOCK, 10_000)
            renew()
            assert 30_000 < redis.pttl(keys.CLEANUP_LOCK) <= 60_000
            assert not second.run_if_due(Runs())

    assert PeriodicTaskLock(redis, expiry=60).run_if_due(cleanup)


def test_a_cleanup_that_lost_the_lock_ends_and_leaves_the_lock_to_its_new_holder(
    redis: Redis,
) -> None:
    def cleanup(renew: Callable[[], object]) -> None:
        time.sleep(0.15)
        assert redis.lock(keys.CLEANUP_LOCK, timeout=60).acquire(blocking=False)
        renew()

    lock = PeriodicTaskLock(redis, expiry=0.1)
    with pytest.raises(RedisError):
        lock.run_if_due(cleanup)
    assert not lock.run_if_due(Runs())
