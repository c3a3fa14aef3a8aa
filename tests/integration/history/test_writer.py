"""History has each state change once, even if entries are repeated, late or lost."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from redis import Redis
from sqlalchemy import Engine, Table, func, select, text, update

from common.history import Change, HistoryReader, HistoryWriter, migrate
from common.history.tables import ATTEMPTS, CHANGES, FILES, JOBS, METADATA
from common.job_store.deliveries import Deliveries, DeliveryAttempt, DeliveryState
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.state_log import StateLog
from common.jobs.model import Artifact, Failure, FileReport, Job, JobSpec, Progress
from common.jobs.transitions import JobState
from stack.process import wait_until
from tests.support.recorder import recording
from worker.maintenance.history_recorder import HistoryRecorder

ARTIFACT = Artifact(
    bucket="archives", key="a.zip", name="a.zip", size=500, content_type="application/zip"
)
BROKEN = Failure(code="NETWORK_ERROR", message="The connection broke", retryable=True)
DONE = FileReport(file_id=1, state="done", size=3, name="one\0.txt")


def run(jobs: JobStore, *, user: str = "alice") -> Job:
    """Run a job of two files that fails once and then completes: five state changes."""
    job = jobs.create(user, JobSpec(file_ids=(1, 2), metadata={"nul": "a\0b"})).job
    first = jobs.claim(job.id, "w1")
    assert first is not None
    jobs.retry_later(first.lease, BROKEN, 0)
    second = jobs.claim(job.id, "w2")
    assert second is not None
    return jobs.complete(second.lease, ARTIFACT, Progress(processed_files=2), [DONE])


def rows(engine: Engine, table: Table) -> list[dict[str, object]]:
    with engine.connect() as connection:
        query = select(table).order_by(*table.primary_key.columns)
        return [dict(row) for row in connection.execute(query).mappings()]


def test_migrations_create_the_tables_that_the_code_defines(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_every_migration_can_be_downgraded(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "common.history:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        left = connection.execute(text("select tablename from pg_tables where schemaname='public'"))
        assert left.scalars().all() == ["alembic_version"]
    migrate(engine)


def test_a_job_is_recorded_with_all_changes_attempts_and_files(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine, reader: HistoryReader, redis: Redis
) -> None:
    finished = run(jobs)
    recorder.step()
    record = reader.job_record(finished.id)
    assert record is not None
    assert record.job == JobQueries(redis).get(finished.id)
    assert [change["status"] for change in record.changes] == [
        *("queued", "processing", "queued", "processing", "completed")
    ]
    assert [
        (attempt["attempt"], attempt["worker"], attempt["outcome"], attempt["error_code"])
        for attempt in record.attempts
    ] == [(1, "w1", "queued", "NETWORK_ERROR"), (2, "w2", "completed", None)]
    assert [
        (file["file_id"], file["state"], file["size"], file["name"]) for file in record.files
    ] == [
        (1, "done", 3, "one\N{REPLACEMENT CHARACTER}.txt"),
        (2, "pending", None, None),
    ]


def test_repeated_and_reordered_changes_produce_the_same_rows(
    jobs: JobStore, engine: Engine, redis: Redis
) -> None:
    state_log = StateLog(redis, "audit", "a")
    state_log.create_group()
    run(jobs, user="alice")
    run(jobs, user="bob")
    changes = [Change(job=entry.job, files=(DONE,)) for entry in state_log.read(count=100)]
    writer = HistoryWriter(engine)
    writer.record(changes)
    expected = {table: rows(engine, table) for table in (JOBS, CHANGES, ATTEMPTS)}
    for seed in range(5):
        with engine.begin() as connection:
            connection.execute(JOBS.delete())
        shuffled = changes * 2
        random.Random(seed).shuffle(shuffled)
        for start in range(0, len(shuffled), 3):
            writer.record(shuffled[start : start + 3])
        assert {table: rows(engine, table) for table in expected} == expected


def test_entries_that_a_dead_recorder_read_are_recorded_by_another(
    jobs: JobStore,
    recorder: HistoryRecorder,
    engine: Engine,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = StateLog(redis, "history", "dead")
    dead.create_group()
    finished = run(jobs)
    assert len(dead.read(count=10)) == 5
    monkeypatch.setattr("worker.maintenance.history_recorder.TAKE_OVER_AFTER", 0)
    recorder.step()
    assert len(rows(engine, CHANGES)) == finished.version
    assert dead.claim_idle(idle_ms=0, count=10) == []


def test_an_entry_that_postgresql_rejects_does_not_block_the_others(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine, redis: Redis
) -> None:
    bad = jobs.create("alice", JobSpec(file_ids=(1,))).job
    key = f"job:status:{{p{int(bad.id[1], 16):02d}}}:{bad.id}"
    redis.hset(key, "total_bytes", str(2**70))
    jobs.cancel(bad.id)
    good = jobs.create("alice", JobSpec(file_ids=(2,))).job
    recorder.step()
    kept = {(row["job_id"], row["version"]) for row in rows(engine, CHANGES)}
    assert kept == {(bad.id, 1), (good.id, 1)}
    assert StateLog(redis, "history", "two").claim_idle(idle_ms=0, count=10) == []


def test_only_finished_jobs_are_deleted_after_the_retention(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine
) -> None:
    finished = run(jobs)
    unfinished = jobs.create("bob", JobSpec(file_ids=(9,))).job
    recorder.step()
    writer = HistoryWriter(engine)
    assert writer.delete_old(timedelta(days=1)) == 0
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(updated_at=func.now() - timedelta(days=2)))
    assert writer.delete_old(timedelta(days=1)) == 1
    assert [row["id"] for row in rows(engine, JOBS)] == [unfinished.id]
    assert finished.id not in {row["job_id"] for row in rows(engine, FILES) + rows(engine, CHANGES)}


def test_jobs_that_the_job_store_lost_do_not_stay_for_ever(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine
) -> None:
    jobs.create("bob", JobSpec(file_ids=(9,)))
    recorder.step()
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(updated_at=func.now() - timedelta(days=31)))
    assert HistoryWriter(engine).delete_old(timedelta(days=90)) == 0
    assert HistoryWriter(engine).delete_old(timedelta(days=1)) == 1


def test_an_explicit_retry_is_another_attempt_with_the_same_number(
    jobs: JobStore, recorder: HistoryRecorder, reader: HistoryReader
) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    for worker in ("w1", "w2"):
        claim = jobs.claim(job.id, worker)
        assert claim is not None
        jobs.fail(claim.lease, BROKEN)
        if worker == "w1":
            jobs.restart(job.id)
    recorder.step()
    record = reader.job_record(job.id)
    assert record is not None
    assert [(row["attempt"], row["worker"], row["outcome"]) for row in record.attempts] == [
        (1, "w1", "failed"),
        (1, "w2", "failed"),
    ]
    assert record.job.status is JobState.FAILED


def test_attempts_to_deliver_webhooks_are_recorded(
    jobs: JobStore, recorder: HistoryRecorder, reader: HistoryReader, redis: Redis
) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1,), callback_url="https://h.example/")).job
    hooks, deliveries = StateLog(redis, "webhooks", "one"), Deliveries(redis)
    hooks.create_group()
    jobs.cancel(job.id)
    deliveries.schedule([entry for entry in hooks.read(count=9) if entry.job.terminal])
    outcomes: list[tuple[DeliveryState, int]] = [("pending", 500), ("delivered", 204)]
    for attempt, (state, status) in enumerate(outcomes, 1):
        (claimed,) = deliveries.claim(limit=1, lease=10)
        entry = DeliveryAttempt(attempt=attempt, at=1_700_000_000_000, duration_ms=5, status=status)
        assert deliveries.record_attempt(claimed, state, entry)
    recorder.step()
    record = reader.job_record(job.id)
    assert record is not None
    assert [(row["attempt"], row["http_status"], row["state"]) for row in record.deliveries] == [
        (1, 500, "pending"),
        (2, 204, "delivered"),
    ]
    assert [change["version"] for change in record.changes] == [1, 2]


def test_the_callback_url_is_not_recorded(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine
) -> None:
    jobs.create("alice", JobSpec(file_ids=(1,), callback_url="https://h.example/?token=s3cr3t"))
    recorder.step()
    kept = [rows(engine, table) for table in METADATA.sorted_tables]
    assert re.search("alice", repr(kept))
    assert not re.search("s3cr3t", repr(kept))


def test_recording_goes_on_after_the_store_was_emptied(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine, redis: Redis
) -> None:
    run(jobs)
    recorder.step()
    redis.flushall()
    run(jobs, user="bob")
    recorder.step()
    assert {row["owner"] for row in rows(engine, JOBS)} == {"alice", "bob"}


def test_tables_of_a_newer_release_are_left_as_they_are(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine
) -> None:
    def set_revision(revision: str) -> str:
        with engine.begin() as connection:
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        return str(current)

    ours = set_revision("9999_of_the_future")
    try:
        migrate(engine)
        run(jobs)
        recorder.step()
        assert len(rows(engine, JOBS)) == 1
    finally:
        assert set_revision(ours) == "9999_of_the_future"


def test_an_unexpected_error_does_not_end_the_recorder(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([ValueError("not an outage"), KeyError("neither")])
    record = HistoryWriter.record

    def fail_twice(writer: HistoryWriter, changes: Sequence[Change]) -> None:
        if (error := next(errors, None)) is not None:
            raise error
        record(writer, changes)

    monkeypatch.setattr(HistoryWriter, "record", fail_twice)
    run(jobs)
    with recording(recorder):
        wait_until(lambda: len(rows(engine, JOBS)) == 1, "the record", 15)
