"""Queries of history: a user's jobs page by page, and statistics by the hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, update

from common.history import HistoryReader
from common.history.tables import CHANGES
from common.job_store.jobs import JobStore
from common.jobs.model import Job, JobSpec
from common.jobs.transitions import JobState
from tests.integration.history.test_writer import BROKEN, run
from worker.maintenance.history_recorder import HistoryRecorder


def fail(jobs: JobStore, user: str) -> Job:
    job = jobs.create(user, JobSpec(file_ids=(7,))).job
    claim = jobs.claim(job.id, "w1")
    assert claim is not None
    return jobs.fail(claim.lease, BROKEN)


def test_finished_jobs_of_one_owner_are_paged_newest_first(
    jobs: JobStore, recorder: HistoryRecorder, reader: HistoryReader
) -> None:
    finished = [run(jobs) for _ in range(3)]
    run(jobs, user="bob")
    jobs.create("alice", JobSpec(file_ids=(5,)))
    recorder.step()
    newest_first = sorted(finished, key=lambda job: (job.created_at, job.id), reverse=True)
    first = reader.finished_jobs("alice", before=None, limit=2, status=None)
    assert first == newest_first[:2]
    place = (first[-1].created_at, first[-1].id)
    assert reader.finished_jobs("alice", before=place, limit=2, status=None) == newest_first[2:]


def test_finished_jobs_can_be_filtered_by_state(
    jobs: JobStore, recorder: HistoryRecorder, reader: HistoryReader
) -> None:
    failed, _ = fail(jobs, "alice"), run(jobs)
    recorder.step()
    found = reader.finished_jobs("alice", before=None, limit=9, status=JobState.FAILED)
    assert found == [failed]
    assert reader.finished_jobs("alice", before=None, limit=9, status=JobState.QUEUED) == []


def test_hours_count_the_changes_of_each_hour(
    jobs: JobStore, recorder: HistoryRecorder, reader: HistoryReader, engine: Engine
) -> None:
    completed, _ = run(jobs), fail(jobs, "alice")
    cancelled = jobs.create("bob", JobSpec(file_ids=(5,))).job
    jobs.cancel(cancelled.id)
    recorder.step()
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with engine.begin() as connection:
        connection.execute(update(CHANGES).values(at=noon + timedelta(minutes=59), elapsed_ms=250))
        connection.execute(
            update(CHANGES)
            .where(CHANGES.c.job_id == cancelled.id)
            .values(at=noon + timedelta(minutes=60))
        )
    quiet, first, second = reader.hours(last=3, now=noon + timedelta(hours=1, minutes=5))
    assert (quiet.start, quiet.created, quiet.durations) == (noon - timedelta(hours=1), 0, {})
    assert (quiet.success_rate, quiet.average) == (None, None)
    assert (first.start, first.created, first.completed, first.failed) == (noon, 2, 1, 1)
    assert (first.retried, first.bytes, first.success_rate) == (1, 500, 0.5)
    assert first.durations == {50: 250, 95: 250, 99: 250}
    assert first.average == 250
    assert (second.created, second.cancelled, second.completed) == (1, 1, 0)
    assert completed.artifact is not None


def test_job_record_is_none_for_an_unrecorded_job(reader: HistoryReader) -> None:
    assert reader.job_record("00000000-0000-4000-8000-000000000000") is None
