"""What else the sweep thread does must not keep it from recovering jobs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from common.job_store.statistics_log import StatisticsLog
from common.job_store.sweeper import Sweeper, SweepResult
from common.job_store.worker_registry import WorkerRegistry
from common.jobs.model import PRIORITIES
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
    monkeypatch.setattr(thread._contact, "lost", lambda: lost.append(True))
    thread.step()
    assert (swept, lost) == ([SweepResult()], [])
