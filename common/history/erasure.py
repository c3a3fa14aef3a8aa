"""Erases what history has of a user, and keeps late entries of the state log from bringing it back.

The recorder writes entries some time after they were made, so an entry of an erased job may still
be on its way. The erasure is noted by a digest of the user, and each writer leaves out jobs that
were created before. A lock orders both: a writer that did not see the note has committed its rows
before they are deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from common.errors import BackendUnavailable
from common.history.database import is_outage
from common.history.rows import to_datetime, to_milliseconds
from common.history.tables import ERASURES, JOBS, USAGE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from common.jobs.model import Job

#: Any number that no other application uses for an advisory lock in the same database.
_LOCK: Final = 0x10C6_8A02
#: How long an erasure is noted. Entries of the state log are processed or deleted long before.
NOTE_AGE: Final = timedelta(days=30)


class HistoryErasure:
    """Erases users. Raises ``BackendUnavailable`` when the database is unavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(self, user: str, at: int) -> None:
        """Note that what was created until ``at`` is erased; ms of the job store's clock."""
        statement = insert(ERASURES).values(owner_digest=_digest(user), erased_at=to_datetime(at))
        statement = statement.on_conflict_do_update(
            index_elements=ERASURES.primary_key.columns,
            set_={"erased_at": func.greatest(ERASURES.c.erased_at, statement.excluded.erased_at)},
        )

        def store(connection: Connection) -> None:
            _lock(connection)
            connection.execute(statement)

        self._run(store)

    def job_ids(self, user: str, limit: int) -> list[str]:
        """Return some of the user's jobs."""
        query = select(JOBS.c.id).where(JOBS.c.owner == user).limit(limit)
        return list(self._run(lambda connection: connection.execute(query).scalars().all()))

    def delete_jobs(self, job_ids: Sequence[str]) -> int:
        """Delete everything that was recorded of these jobs; return how many there were."""
        statement = delete(JOBS).where(JOBS.c.id.in_(job_ids))
        return int(self._run(lambda connection: connection.execute(statement).rowcount))

    def delete_usage(self, user: str) -> int:
        """Delete the user's usage; return the number of days."""
        statement = delete(USAGE).where(USAGE.c.owner == user)
        return int(self._run(lambda connection: connection.execute(statement).rowcount))

    def _run(self, execute: Any) -> Any:
        try:
            with self._engine.begin() as connection:
                return execute(connection)
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            raise BackendUnavailable("History is unavailable.") from error


def without_erased(connection: Connection, jobs: Sequence[Job]) -> set[str]:
    """Return the IDs of those jobs that were not erased, and keep erasures from starting now."""
    connection.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
    digests = {_digest(job.user) for job in jobs}
    query = select(ERASURES).where(ERASURES.c.owner_digest.in_(digests))
    erased = {
        row["owner_digest"]: to_milliseconds(row["erased_at"]) or 0
        for row in connection.execute(query).mappings()
    }
    return {job.id for job in jobs if job.created_at > erased.get(_digest(job.user), 0)}


def delete_old_notes(connection: Connection) -> None:
    connection.execute(delete(ERASURES).where(ERASURES.c.erased_at < func.now() - NOTE_AGE))


def _lock(connection: Connection) -> None:
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _digest(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()
