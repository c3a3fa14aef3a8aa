"""After the server's clock was set back, nothing that should expire stays for as long as it was."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from redis import Redis

from common.errors import StorageError
from common.job_store import keys
from common.job_store.build_lock import TTL, RedisBuildLock
from common.job_store.periodic_task_lock import LOCK_EXPIRY, PeriodicTaskLock
from common.job_store.statistics_log import INTERVAL, StatisticsLog
from worker.circuit_breakers import OPEN_SECONDS, CircuitBreaker

Passes = Callable[[Redis], bool]


def builds(redis: Redis) -> bool:
    return RedisBuildLock(redis, "plan", "waiting").acquire()


def cleans_up(redis: Redis) -> bool:
    return PeriodicTaskLock(redis, interval=60).run_if_due(lambda _: None)


def takes_sample(redis: Redis) -> bool:
    return StatisticsLog(redis).record_if_due()


def tries_again(redis: Redis) -> bool:
    return CircuitBreaker("storage", redis).allows_attempt()


def hold_build_lock(redis: Redis) -> None:
    assert RedisBuildLock(redis, "plan", "dead").acquire()


def hold_cleanup_lock(redis: Redis) -> None:
    redis.set(keys.CLEANUP_LOCK, "a worker that died", px=round(LOCK_EXPIRY * 1000))


def open_circuit(redis: Redis) -> None:
    def check() -> None:
        raise StorageError("unavailable")

    breaker = CircuitBreaker("storage", redis, check=check)
    assert breaker.record_failure("job", StorageError("unavailable"))


@pytest.mark.parametrize(("hold", "passes", "seconds"), [
    (hold_build_lock, builds, TTL),
    (cleans_up, cleans_up, 60),
    (takes_sample, takes_sample, INTERVAL),
    (hold_cleanup_lock, cleans_up, LOCK_EXPIRY),
    (open_circuit, tries_again, OPEN_SECONDS),
])  # fmt: skip
def test_expiries_are_kept_after_the_clock_was_set_back(
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    hold: Callable[[Redis], object],
    passes: Passes,
    seconds: float,
) -> None:
    hold(redis)
    right_time = time.time
    monkeypatch.setattr(time, "time", lambda: right_time() - 3_600)
    assert not passes(redis)
    monkeypatch.setattr(time, "time", lambda: right_time() - 3_600 + seconds + 1)
    assert passes(redis)
