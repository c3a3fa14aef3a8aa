"""PostgreSQL is killed under load: afterwards the history equals the state log, row for row.

OUTAGE sets the seconds until it is started again. ``pytest -s`` shows the measurements.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import Redis
from sqlalchemy import Engine, Table, func, select
from sqlalchemy.exc import SQLAlchemyError

from common.history import open_engine
from common.history.rows import change_row
from common.history.tables import CHANGES, JOBS
from common.job_store.client import open_client
from common.job_store.state_log import StateLog
from common.jobs.model import Job
from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System

OUTAGE = float(os.environ.get("OUTAGE") or 5)
#: Seconds between two jobs of one poster.
PAUSE = 0.1
LIMITS = {
    "CREATE_PER_MINUTE_IP": "1000000",
    "CREATE_PER_MINUTE_USER": "1000000",
    "MAX_ACTIVE_JOBS": "1000000",
}


class Posters:
    """Four clients that post a job every tenth of a second until they are stopped."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(4)
        self.statuses: Counter[int] = Counter()
        self._runs = [self._pool.submit(self._post) for _ in range(4)]

    def stop(self) -> None:
        self._over.set()
        self._pool.shutdown()
        for run in self._runs:
            run.result()

    def _post(self) -> None:
        files = [sample.file_id for sample in SMALL]
        with httpx.Client(base_url=self._base_url, timeout=10) as http:
            while not self._over.wait(PAUSE):
                number = next(self._numbers)
                response = http.post(
                    "/v1/download/initiate",
                    json={"file_ids": [files[number % 6], files[(number // 6) % 6]]},
                    headers={"X-User-Id": f"user-{number % 200}"},
                )
                self.statuses[response.status_code] += 1


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path, workers=2, files=SMALL, env=LIMITS) as system:
        yield system


@pytest.fixture
def engine(system: System) -> Iterator[Engine]:
    engine = open_engine(system.env["DATABASE_URL"], timeout=2, size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def redis(system: System) -> Iterator[Redis]:
    client = open_client(system.redis_url, timeout=10)
    yield client
    client.close()


def _read_changes(audit: StateLog) -> list[Job]:
    """Return all new changes in the state log, oldest first."""
    found: list[Job] = []
    while entries := audit.read(count=1_000):
        found += [entry.job for entry in entries if entry.delivery is None]
    return found


def _count(engine: Engine, table: Table) -> int:
    try:
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0
    except SQLAlchemyError:
        return 0


def _rows(engine: Engine) -> list[dict[str, object]]:
    query = select(CHANGES).order_by(CHANGES.c.job_id, CHANGES.c.version)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


@pytest.mark.timeout(120 + 2 * OUTAGE)
def test_history_equals_the_state_log_after_postgresql_was_killed(
    system: System, engine: Engine, redis: Redis
) -> None:
    # A separate group: the state log keeps what its slowest group has not acknowledged.
    audit = StateLog(redis, "audit", "audit")
    audit.create_group()
    posters = Posters(system.base_url)
    try:
        wait_until(lambda: _count(engine, CHANGES) > 50, "the first rows")
        system.kill_component("postgres")
        time.sleep(OUTAGE)
        system.start_component("postgres")
        time.sleep(1)
    finally:
        posters.stop()
    assert set(posters.statuses) == {202}

    jobs: dict[str, Job] = {}
    changes: list[Job] = []

    def all_ended() -> bool:
        changes.extend(_read_changes(audit))
        jobs.update((job.id, job) for job in changes)
        return all(job.terminal for job in jobs.values())

    wait_until(all_ended, "the end of all jobs", 60)
    started = time.monotonic()
    wait_until(lambda: _count(engine, CHANGES) >= len(changes), "history to catch up", 60)
    print(f"\n{len(jobs)} jobs, {len(changes)} rows; caught up {time.monotonic() - started:.1f} s")
    expected = sorted(map(change_row, changes), key=lambda row: (row["job_id"], row["version"]))
    assert _rows(engine) == expected
    assert _count(engine, JOBS) == len(jobs) > OUTAGE
