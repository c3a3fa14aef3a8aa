"""When the cleanup thread of a worker does what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from common.errors import NetworkError
from common.job_store import keys
from common.job_store.periodic_task_lock import PeriodicTaskLock
from stack.process import wait_until
from worker.maintenance import cleanup
from worker.maintenance.cleanup import CleanupThread


class Archives:
    """Stands in for ``ArchiveBuilder``: its storage may be unavailable."""

    def __init__(self) -> None:
        self.available = threading.Event()
        self.available.set()
        self.prepared = 0
        self.expired_deleted = 0

    def prepare(self) -> None:
        self.prepared += 1
        if not self.available.is_set():
            raise NetworkError

    def remove_uploads_of_ended_jobs(self) -> int:
        return 0

    def delete_expired(self, renew_lock: Callable[[], object]) -> int:
        renew_lock()
        self.expired_deleted += 1
        return 0


class Cleanup:
    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = None

    def run(self, renew_lock: Callable[[], object]) -> None:
        self.runs += 1
        renew_lock()
        if self.error is not None:
            raise self.error


Start = Callable[..., None]


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_RETRY_INTERVAL", "_INTERVAL", "_MAX_START_DELAY"):
        monkeypatch.setattr(cleanup, name, 0.02)


@pytest.fixture
def start(redis: Redis) -> Iterator[Start]:
    threads: list[CleanupThread] = []

    def started(archives: Any, work: Any, *, interval: float = 300.0) -> None:
        threads.append(CleanupThread(archives, work, PeriodicTaskLock(redis, interval=interval)))
        threads[-1].start()

    yield started
    for thread in threads:
        thread.stop()


def test_the_cleanup_runs_soon_after_the_start_and_again_after_the_interval(start: Start) -> None:
    work = Cleanup()
    start(Archives(), work, interval=0.05)
    wait_until(lambda: work.runs >= 3, "three runs", 5)


def test_several_workers_run_the_cleanup_once_per_interval(start: Start) -> None:
    work, archives = Cleanup(), Archives()
    for _ in range(3):
        start(archives, work)
    wait_until(lambda: archives.prepared > 15, "five rounds of each worker", 5)
    assert work.runs == 1


def test_a_worker_takes_over_the_cleanup_of_a_dead_one(redis: Redis, start: Start) -> None:
    assert redis.lock(keys.CLEANUP_LOCK, timeout=2).acquire(blocking=False)
    work, archives = Cleanup(), Archives()
    start(archives, work)
    wait_until(lambda: archives.prepared > 2, "some rounds", 5)
    assert work.runs == 0
    wait_until(lambda: work.runs == 1, "the run after the lock expired", 5)


def test_the_cleanup_runs_although_the_storage_cannot_be_prepared(start: Start) -> None:
    work, archives = Cleanup(), Archives()
    archives.available.clear()
    start(archives, work)
    wait_until(lambda: archives.prepared > 3, "some attempts", 5)
    wait_until(lambda: work.runs == 1, "the first run", 5)


def test_expired_archives_are_deleted_although_the_rest_of_the_cleanup_fails(start: Start) -> None:
    work, archives = Cleanup(), Archives()
    work.error = NetworkError()
    start(archives, work)
    wait_until(lambda: archives.expired_deleted > 0, "the deletion", 5)


def test_a_failed_cleanup_is_tried_again(start: Start) -> None:
    work = Cleanup()
    work.error = NetworkError()
    start(Archives(), work)
    wait_until(lambda: work.runs >= 2, "the second attempt", 5)
    work.error = None
    time.sleep(0.2)
    runs = work.runs
    time.sleep(0.1)
    assert work.runs == runs
