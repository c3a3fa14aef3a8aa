"""Reads history: jobs that the job store has deleted, and statistics by the hour."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import func, literal_column, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from common.errors import BackendUnavailable
from common.history.database import is_outage
from common.history.rows import job_of, to_datetime, to_milliseconds
from common.history.tables import ATTEMPTS, CHANGES, DELIVERIES, DOWNLOADS, FILES, JOBS
from common.history.usage import UsageOfDay, read_usage
from common.jobs.model import Job, success_rate
from common.jobs.transitions import TERMINAL, JobState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Table

    from common.jobs.filters import JobFilter

PERCENTILES: Final = (50, 95, 99)


@dataclass(frozen=True, kw_only=True)
class Hour:
    """Statistics of the hour that begins at ``start``."""

    start: datetime
    created: int
    completed: int
    failed: int
    cancelled: int
    #: Failed attempts that are followed by a retry.
    retried: int
    #: Total size of the completed archives.
    bytes: int
    #: Percentile -> milliseconds from creation to completion; empty if no job completed.
    durations: Mapping[int, float]
    #: The average of the same, in milliseconds; None if no job completed.
    average: float | None

    @property
    def success_rate(self) -> float | None:
        """completed / (completed + failed), 0 to 1; None while no job has ended."""
        return success_rate(self.completed, self.failed)


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """Everything that was recorded of one job; rows by column name."""

    job: Job
    changes: Sequence[Mapping[str, Any]]
    attempts: Sequence[Mapping[str, Any]]
    files: Sequence[Mapping[str, Any]]
    deliveries: Sequence[Mapping[str, Any]]
    downloads: Sequence[Mapping[str, Any]]


class HistoryReader:
    """Reads history. Raises ``BackendUnavailable`` when the database is unavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            raise BackendUnavailable("History is unavailable.") from error

    def check(self) -> None:
        """Raise ``BackendUnavailable`` if the database does not respond."""
        with self._connection() as connection:
            connection.execute(select(1))

    def finished_jobs(
        self, owner: str, *, before: tuple[int, str] | None, limit: int, status: JobState | None
    ) -> list[Job]:
        """Return the owner's finished jobs, newest first, older than ``before`` (createdAt, id)."""
        states = TERMINAL if status is None else TERMINAL & {status}
        query = select(JOBS).where(
            JOBS.c.owner == owner, JOBS.c.status.in_([state.value for state in states])
        )
        if before is not None:
            query = query.where(_is_older(before))
        query = query.order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).limit(limit)
        with self._connection() as connection:
            return [job_of(row) for row in connection.execute(query).mappings()]

    def search(
        self, job_filter: JobFilter, *, before: tuple[int, str] | None, limit: int
    ) -> list[Job]:
        """Return jobs of all users, newest first, older than ``before`` (createdAt, id)."""
        query = select(JOBS).where(*_conditions(job_filter))
        if before is not None:
            query = query.where(_is_older(before))
        query = query.order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).limit(limit)
        with self._connection() as connection:
            return [job_of(row) for row in connection.execute(query).mappings()]

    def positions(self, job_filter: JobFilter, *, limit: int) -> list[tuple[int, str]]:
        """Return (createdAt, id) of up to ``limit`` jobs of all users, newest first."""
        query = select(JOBS.c.created_at, JOBS.c.id).where(*_conditions(job_filter))
        query = query.order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).limit(limit)
        with self._connection() as connection:
            rows = connection.execute(query).all()
        return [(to_milliseconds(created_at) or 0, job_id) for created_at, job_id in rows]

    def job_record(self, job_id: str) -> JobRecord | None:
        """Return everything that was recorded of a job, or None."""
        with self._connection() as connection:
            row = connection.execute(select(JOBS).where(JOBS.c.id == job_id)).mappings().first()
            if row is None:
                return None

            def rows(table: Table) -> list[Mapping[str, Any]]:
                query = select(table).where(table.c.job_id == job_id)
                query = query.order_by(*table.primary_key.columns)
                return [dict(row) for row in connection.execute(query).mappings()]

            return JobRecord(
                job=job_of(row),
                changes=rows(CHANGES),
                attempts=rows(ATTEMPTS),
                files=rows(FILES),
                deliveries=rows(DELIVERIES),
                downloads=rows(DOWNLOADS),
            )

    def usage(
        self, first: date, last: date, *, owner: str | None = None, limit: int
    ) -> list[UsageOfDay]:
        """Return usage by day and user, at most ``limit`` rows; ``owner`` None: of all users."""
        with self._connection() as connection:
            return read_usage(connection, first, last, owner=owner, limit=limit)

    def hours(self, *, last: int, now: datetime | None = None) -> list[Hour]:
        """Return the last hours including the current one, oldest first; empty ones have zeros."""
        newest = (now or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0)
        starts = [newest - timedelta(hours=back) for back in range(last - 1, -1, -1)]
        hour = func.date_trunc("hour", CHANGES.c.at, "UTC").label("hour")
        query = (
            select(hour, *_statistics())
            .where(CHANGES.c.at >= starts[0], CHANGES.c.at < newest + timedelta(hours=1))
            .group_by(hour)
        )
        with self._connection() as connection:
            rows = {row["hour"]: dict(row) for row in connection.execute(query).mappings()}
        return [_hour(start, rows.get(start, {})) for start in starts]


def _is_older(position: tuple[int, str]) -> Any:
    cursor = tuple_(
        to_datetime(position[0]), position[1], types=(JOBS.c.created_at.type, JOBS.c.id.type)
    )
    return tuple_(JOBS.c.created_at, JOBS.c.id) < cursor


def _conditions(job_filter: JobFilter) -> Iterator[Any]:
    """Yield the conditions of the filter; each one has an index."""
    if job_filter.user is not None:
        yield JOBS.c.owner == job_filter.user
    if job_filter.statuses is not None:
        yield JOBS.c.status.in_(sorted(job_filter.statuses))
    if job_filter.error_code is not None:
        yield JOBS.c.error_code == job_filter.error_code
    if job_filter.priorities is not None:
        yield JOBS.c.priority.in_(sorted(job_filter.priorities))
    if job_filter.created_from is not None:
        yield JOBS.c.created_at >= to_datetime(job_filter.created_from)
    if job_filter.created_before is not None:
        yield JOBS.c.created_at < to_datetime(job_filter.created_before)
    if job_filter.id_prefix:
        yield JOBS.c.id.between(*_first_and_last_id(job_filter.id_prefix))


def _first_and_last_id(prefix: str) -> tuple[str, str]:
    digits = prefix.replace("-", "")
    return str(UUID(digits.ljust(32, "0"))), str(UUID(digits.ljust(32, "f")))


def _statistics() -> list[Any]:
    status = CHANGES.c.status
    counted = {
        "created": CHANGES.c.version == 1,
        "retried": (status == JobState.QUEUED.value) & CHANGES.c.error_code.is_not(None),
        **{
            name: status == name
            for name in (JobState.COMPLETED.value, JobState.FAILED.value, JobState.CANCELLED.value)
        },
    }
    completed = counted[JobState.COMPLETED.value]
    fractions = ", ".join(str(percent / 100) for percent in PERCENTILES)
    durations = func.percentile_cont(literal_column(f"ARRAY[{fractions}]")).within_group(
        CHANGES.c.elapsed_ms
    )
    return [
        *(func.count().filter(condition).label(name) for name, condition in counted.items()),
        func.coalesce(func.sum(CHANGES.c.bytes).filter(completed), 0).label("bytes"),
        durations.filter(completed).label("durations"),
        func.avg(CHANGES.c.elapsed_ms).filter(completed).label("average"),
    ]


def _hour(start: datetime, row: Mapping[str, Any]) -> Hour:
    durations, average = row.get("durations") or (), row.get("average")
    counts = ("created", "completed", "failed", "cancelled", "retried", "bytes")
    return Hour(
        start=start,
        durations=dict(zip(PERCENTILES, durations, strict=bool(durations))),
        average=None if average is None else float(average),
        **{name: int(row.get(name, 0)) for name in counts},
    )
