"""Writing history: a batch of changes in one transaction, each counted once however often it comes.

Every statement either inserts or replaces something older, so batches may be repeated, overlap and
come out of order: rows end up the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table, case, delete, func, or_, select
from sqlalchemy.dialects.postgresql import Insert, insert

from common.history.rows import Row, attempt_rows, change_row, delivery_row, file_row, job_row
from common.history.tables import ATTEMPTS, CHANGES, DELIVERIES, FILES, JOBS
from common.jobs.model import FileReport, Job
from common.jobs.transitions import TERMINAL

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: Jobs forgotten in one transaction.
FORGET_BATCH: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of state, with the files of the job where it ended."""

    job: Job
    files: Sequence[FileReport] = ()
    #: An attempt to tell of this change by webhook: ``attempt``, ``at`` (ms since 1970),
    #: ``duration_ms``, ``status``, ``error`` and the ``state`` that the webhook was in afterwards.
    delivery: Mapping[str, Any] | None = None


class HistoryWriter:
    """Raises ``sqlalchemy.exc.SQLAlchemyError``; nothing of a batch is kept when it does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, changes: Sequence[Change]) -> None:
        """Keep these changes; one that is kept already is no error."""
        jobs = [change.job for change in changes]
        with self._engine.begin() as connection:
            _upsert_newest(connection, JOBS, [job_row(job) for job in _newest(jobs)])
            _insert_new(connection, CHANGES, [change_row(job) for job in _in_order(jobs)])
            _upsert_attempts(connection, attempt_rows(jobs))
            _upsert_newest(connection, FILES, _file_rows(changes))
            _insert_new(connection, DELIVERIES, _delivery_rows(changes))

    def delete_old(self, older_than: timedelta) -> int:
        """Delete finished jobs not touched for so long, at most a batch; how many there were."""
        finished = [state.value for state in TERMINAL]
        old = (
            select(JOBS.c.id)
            .where(JOBS.c.updated_at < func.now() - older_than, JOBS.c.status.in_(finished))
            .order_by(JOBS.c.updated_at)
            .limit(FORGET_BATCH)
        )
        with self._engine.begin() as connection:
            return connection.execute(delete(JOBS).where(JOBS.c.id.in_(old))).rowcount


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Every writer takes rows in one order, so that no two wait for each other."""
    return sorted(jobs, key=lambda job: (job.id, job.version))


def _newest(jobs: Sequence[Job]) -> list[Job]:
    """The newest version of each job."""
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


def _insert_new(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _upsert_newest(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert, or replace what is there by a newer version."""
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
    """The beginning from whoever knows it, the end from the lowest version that may be it."""
    old, new = ATTEMPTS.c, statement.excluded
    earlier = or_(old.ended_version.is_(None), new.ended_version < old.ended_version)
    begun = {
        name: func.coalesce(old[name], new[name]) for name in ("attempt", "worker", "started_at")
    }
    ended = {
        name: case((earlier, new[name]), else_=old[name])
        for name in ("ended_at", "ended_version", "outcome", "error_code", "error")
    }
    return {**begun, **ended}


def _other_columns(table: Table) -> list[Any]:
    return [column for column in table.columns if not column.primary_key]
