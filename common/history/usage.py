"""What users did on each day: counted with the changes of their jobs, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from common.history.rows import Row, to_datetime
from common.history.tables import USAGE
from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from common.jobs.model import Job

COUNTS: Final = ("jobs", "completed", "failed", "cancelled", "bytes")
_ENDED: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, kw_only=True)
class UsageOfDay:
    """What the jobs of a user did on a day, UTC."""

    owner: str
    day: date
    #: Created.
    jobs: int
    completed: int
    failed: int
    cancelled: int
    #: Of completed archives.
    bytes: int


def add_usage(connection: Connection, changes: Iterable[Job]) -> None:
    """Count changes that were not counted before."""
    rows = usage_rows(changes)
    if not rows:
        return
    statement = insert(USAGE)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=USAGE.primary_key.columns,
            set_={name: USAGE.c[name] + statement.excluded[name] for name in COUNTS},
        ),
        rows,
    )


def usage_rows(changes: Iterable[Job]) -> list[Row]:
    """Return one row for each user and day, in the order in which every writer locks them."""
    rows: dict[tuple[str, date], Row] = {}
    for job in changes:
        if job.version > 1 and job.status not in _ENDED:
            continue
        at = to_datetime(job.updated_at)
        assert at is not None  # noqa: S101  for the type checker
        empty = {"owner": job.user, "day": at.date(), **dict.fromkeys(COUNTS, 0)}
        row = rows.setdefault((job.user, at.date()), empty)
        row["jobs" if job.version == 1 else job.status.value] += 1
        if job.status is JobState.COMPLETED and job.artifact:
            row["bytes"] += job.artifact.size
    return [rows[key] for key in sorted(rows)]


def read_usage(
    connection: Connection, first: date, last: date, *, owner: str | None, limit: int
) -> list[UsageOfDay]:
    """Return the usage from ``first`` to ``last`` by day and user; ``owner`` None: of all users."""
    query = select(USAGE).where(USAGE.c.day.between(first, last))
    if owner is not None:
        query = query.where(USAGE.c.owner == owner)
    query = query.order_by(USAGE.c.day, USAGE.c.owner).limit(limit)
    rows: Any = connection.execute(query).mappings()
    return [UsageOfDay(**row) for row in rows]
