"""Writes history: a batch of changes in one transaction, idempotently.

Every statement either inserts a row or replaces an older one, so batches may be repeated, overlap
and arrive out of order: the rows end up the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table, case, delete, func, or_, select
from sqlalchemy.dialects.postgresql import Insert, insert

from common.history.erasure import delete_old_notes, without_erased
from common.history.rows import (
    Row,
    attempt_rows,
    change_row,
    delivery_row,
    download_row,
    file_row,
    job_row,
)
from common.history.tables import ATTEMPTS, CHANGES, DELIVERIES, DOWNLOADS, FILES, JOBS, USAGE
from common.history.usage import add_usage
from common.jobs.model import CountedDownload, FileReport, Job
from common.jobs.transitions import TERMINAL

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: Jobs deleted in one transaction, at most.
DELETE_BATCH: Final = 1_000


#: How long usage is kept at least: a year of bills, and a quarter more.
USAGE_AGE: Final = timedelta(days=455)

#: After so long without a change, an unfinished job is no longer in the job store.
LOST_AGE: Final = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A state change, with reports on the job's files if the job ended."""

    job: Job
    files: Sequence[FileReport] = ()
    #: An attempt to deliver the webhook for this change: ``attempt``, ``at`` (ms since 1970),
    #: ``duration_ms``, ``status``, ``error`` and the ``state`` of the delivery afterwards.
    delivery: Mapping[str, Any] | None = None


class HistoryWriter:
    """Writes history. Raises ``SQLAlchemyError``; then nothing of the batch is stored."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, changes: Sequence[Change]) -> None:
        """Store changes. Idempotent."""
        with self._engine.begin() as connection:
            kept = without_erased(connection, [change.job for change in changes])
            changes = [change for change in changes if change.job.id in kept]
            jobs = [change.job for change in changes]
            _upsert_newest(connection, JOBS, [job_row(job) for job in _newest(jobs)])
            add_usage(connection, _insert_changes(connection, _in_order(jobs)))
            _upsert_attempts(connection, attempt_rows(jobs))
            _upsert_newest(connection, FILES, _file_rows(changes))
            _insert_new(connection, DELIVERIES, _delivery_rows(changes))

    def record_downloads(self, jobs: Sequence[Job], downloads: Sequence[CountedDownload]) -> None:
        """Store downloads of jobs, and the jobs as far as they are still known. Idempotent.

        Downloads of jobs that the history has never had, has deleted or erased are left out.
        """
        with self._engine.begin() as connection:
            kept = without_erased(connection, jobs)
            newest = _newest([job for job in jobs if job.id in kept])
            _upsert_newest(connection, JOBS, [job_row(job) for job in newest])
            job_ids = {download.job_id for download in downloads}
            # Locked, so that no other process deletes one of these jobs before the commit.
            query = (
                select(JOBS.c.id)
                .where(JOBS.c.id.in_(job_ids))
                .with_for_update(read=True, key_share=True)
            )
            known = set(connection.execute(query.order_by(JOBS.c.id)).scalars())
            rows = [download_row(each) for each in downloads if each.job_id in known]
            _insert_new(connection, DOWNLOADS, rows)

    def delete_old(self, older_than: timedelta, *, limit: int = DELETE_BATCH) -> int:
        """Delete at most ``limit`` finished jobs that are older; return their number.

        Unfinished jobs are deleted as well if they are also older than ``LOST_AGE``: the job store
        has lost them. Usage is kept for ``USAGE_AGE`` at least. Raises ``ValueError`` if
        ``older_than`` is not positive, which would delete the whole history.
        """
        if older_than <= timedelta(0):
            raise ValueError(f"older_than must be positive, not {older_than}")
        finished = [state.value for state in TERMINAL]
        old = (
            select(JOBS.c.id)
            .where(
                JOBS.c.updated_at < func.now() - older_than,
                or_(
                    JOBS.c.status.in_(finished),
                    JOBS.c.updated_at < func.now() - LOST_AGE,
                ),
            )
            .order_by(JOBS.c.updated_at)
            .limit(limit)
        )
        old_usage = delete(USAGE).where(
            USAGE.c.day < func.current_date() - max(older_than, USAGE_AGE)
        )
        with self._engine.begin() as connection:
            delete_old_notes(connection)
            connection.execute(old_usage)
            return connection.execute(delete(JOBS).where(JOBS.c.id.in_(old))).rowcount


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs in the order in which every writer locks rows, which avoids deadlocks."""
    return sorted(jobs, key=lambda job: (job.id, job.version))


def _newest(jobs: Sequence[Job]) -> list[Job]:
    """Return the newest version of each job."""
    return list({job.id: job for job in _in_order(jobs)}.values())


def _file_rows(changes: Sequence[Change]) -> list[Row]:
    rows = {
        (change.job.id, report.file_id): file_row(change.job, report)
        for change in sorted(changes, key=lambda change: change.job.version)
        for report in change.files
    }
    return [rows[key] for key in sorted(rows)]


def _delivery_rows(changes: Sequence[Change]) -> list[Row]:
    rows = [
        delivery_row(change.job, change.delivery)
        for change in changes
        if change.delivery is not None
    ]
    return sorted(rows, key=lambda row: (row["job_id"], row["version"], row["attempt"]))


def _insert_changes(connection: Connection, jobs: Sequence[Job]) -> list[Job]:
    """Insert changes that are not stored yet, and return them."""
    if not jobs:
        return []
    inserted = connection.execute(
        insert(CHANGES).on_conflict_do_nothing().returning(CHANGES.c.job_id, CHANGES.c.version),
        [change_row(job) for job in jobs],
    )
    by_version = {(job.id, job.version): job for job in jobs}
    return [by_version[row.job_id, row.version] for row in inserted]


def _insert_new(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _upsert_newest(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert rows, or replace existing ones that have an older version."""
    if not rows:
        return
    statement = insert(table)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=table.primary_key.columns,
            set_={column.name: new[column.name] for column in _other_columns(table)},
            where=table.c.version < new.version,
        ),
        rows,
    )


def _upsert_attempts(connection: Connection, rows: list[Row]) -> None:
    if not rows:
        return
    statement = insert(ATTEMPTS)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=ATTEMPTS.primary_key.columns, set_=_merged_attempt(statement)
        ),
        rows,
    )


def _merged_attempt(statement: Insert) -> dict[str, Any]:
    """Return the start from the row that has it, and the end from the lowest version."""
    old, new = ATTEMPTS.c, statement.excluded
    earlier = or_(old.ended_version.is_(None), new.ended_version < old.ended_version)
    start = {
        name: func.coalesce(old[name], new[name]) for name in ("attempt", "worker", "started_at")
    }
    end = {
        name: case((earlier, new[name]), else_=old[name])
        for name in ("ended_at", "ended_version", "outcome", "error_code", "error")
    }
    return {**start, **end}


def _other_columns(table: Table) -> list[Any]:
    return [column for column in table.columns if not column.primary_key]
