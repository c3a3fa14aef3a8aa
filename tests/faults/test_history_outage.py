"""PostgreSQL is killed under load: afterwards history equals the journal, row for row."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from common.history import HistoryWriter, migrate, open_engine
from common.history.tables import CHANGES
from common.jobs.model import Artifact, JobSpec, Progress
from common.queue import Dispatcher, celery_app
from common.store.client import open_client
from common.store.jobs import JobStore, Limits
from common.store.journal import Journal
from common.store.queries import JobQueries
from stack.postgres import start_postgres
from stack.process import free_port, wait_until
from stack.services import Valkey
from worker.recorder import Recorder

#: Seconds without PostgreSQL, and how many workers record.
OUTAGE = 5.0
RECORDERS = 2
ARTIFACT = Artifact(bucket="b", key="k", name="n", size=1, content_type="application/zip")


def journal_of(redis: Redis) -> set[tuple[str, int, str]]:
    audit = Journal(redis, "audit", "audit")
    audit.join()
    found: set[tuple[str, int, str]] = set()
    while entries := audit.read(count=1_000):
        found |= {(entry.job.id, entry.job.version, entry.job.status.value) for entry in entries}
    return found


@pytest.mark.timeout(90)
def test_history_equals_the_journal_after_postgresql_was_killed(
    valkey: Valkey, tmp_path: Path
) -> None:
    redis = open_client(valkey.url, patience=5)
    redis.flushall()
    jobs = JobStore(
        redis, Dispatcher(celery_app(valkey.url), same_server=True), Limits(max_active=10_000)
    )
    port = free_port()
    postgres = start_postgres(tmp_path / "postgres", port=port)
    engine = open_engine(postgres.url, patience=2, size=RECORDERS + 1)
    recorders = [
        Recorder(
            Journal(redis, "history", f"worker-{number}"),
            HistoryWriter(engine),
            JobQueries(redis),
            migrate=lambda: migrate(engine),
            retention=None,
        )
        for number in range(RECORDERS)
    ]
    over = threading.Event()

    def load() -> None:
        number = 0
        while not over.wait(0.002):
            number += 1
            job = jobs.create(f"user-{number % 40}", JobSpec(file_ids=(number,))).job
            claim = jobs.claim(job.id, "worker")
            assert claim is not None
            jobs.complete(claim.lease, ARTIFACT, Progress())

    def kept() -> set[tuple[str, int, str]]:
        try:
            with engine.connect() as connection:
                query = select(CHANGES.c.job_id, CHANGES.c.version, CHANGES.c.status)
                return {(row.job_id, row.version, row.status) for row in connection.execute(query)}
        except SQLAlchemyError:
            return set()

    client = threading.Thread(target=load, daemon=True)
    try:
        for recorder in recorders:
            recorder.start()
        client.start()
        wait_until(lambda: len(kept()) > 50, "the first rows")
        postgres.process.kill()
        time.sleep(OUTAGE)
        postgres = start_postgres(tmp_path / "postgres", port=port)
        time.sleep(1)
        over.set()
        client.join(10)
        expected = journal_of(redis)
        wait_until(lambda: len(kept()) >= len(expected), "history to catch up", 40)
        assert kept() == expected
        assert len(expected) > 1_000
    finally:
        over.set()
        for recorder in recorders:
            recorder.stop()
        engine.dispose()
        postgres.process.stop()
        redis.close()
