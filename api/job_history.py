"""Reads jobs from the job store first, and from PostgreSQL those that it no longer has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from api.errors import HistoryDisabled
from api.optional_history import OptionalHistory
from common.job_store.queries import position_of

if TYPE_CHECKING:
    from datetime import date

    from common.history import HistoryReader
    from common.history.reader import Hour
    from common.history.usage import UsageOfDay
    from common.job_store.queries import JobQueries, Position
    from common.jobs.model import Job
    from common.jobs.transitions import JobState


class JobHistory:
    """Merges the job store and the history. Where both have a job, the job store is current."""

    def __init__(
        self,
        queries: JobQueries,
        history: HistoryReader | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``history``: None if it is disabled."""
        self._queries = queries
        self._history = history
        self._optional_history = OptionalHistory(history, clock=clock)

    def page(
        self, user: str, *, before: Position | None, limit: int, status: JobState | None
    ) -> tuple[list[Job], Position | None]:
        """Return a page of a user's jobs, and where the next one begins.

        The parameters are those of ``JobQueries.page``. While the history is unavailable, the list
        contains only the jobs in the job store.
        """
        stored, end = self._queries.page(user, before=before, limit=limit, status=status)
        recorded, _ = self._optional_history.read(
            lambda history: history.finished_jobs(
                user, before=before, limit=limit + 1, status=status
            )
        )
        ids = {job.id for job in stored}
        unlisted = [job for job in recorded if job.id not in ids]
        current = {job.id: job for job in self._queries.get_many([job.id for job in unlisted])}
        jobs = stored + [
            job
            for job in (current.get(job.id, job) for job in unlisted)
            if status in (None, job.status)
        ]
        jobs.sort(key=position_of, reverse=True)
        if end is not None:
            # Stored jobs between this page and older recorded ones were not read yet.
            jobs = [job for job in jobs if position_of(job) >= end]
        if jobs and (len(jobs) > limit or (end is None and len(recorded) > limit)):
            jobs = jobs[:limit]
            end = position_of(jobs[-1])
        return jobs, end

    def hours(self, last: int) -> list[Hour]:
        """Return statistics of the last hours.

        Raises ``HistoryDisabled`` and ``BackendUnavailable``.
        """
        return self._reader().hours(last=last)

    def usage(self, user: str, first: date, last: date) -> list[UsageOfDay] | None:
        """Return a user's usage by day, oldest first; None if there is no history.

        Raises ``BackendUnavailable``.
        """
        if self._history is None:
            return None
        return self._history.usage(first, last, owner=user, limit=(last - first).days + 1)

    def usage_of_all(self, first: date, last: date, *, limit: int) -> list[UsageOfDay]:
        """Return the usage of all users by day, at most ``limit`` rows.

        Raises ``HistoryDisabled`` and ``BackendUnavailable``.
        """
        return self._reader().usage(first, last, limit=limit)

    def _reader(self) -> HistoryReader:
        if self._history is None:
            raise HistoryDisabled
        return self._history
