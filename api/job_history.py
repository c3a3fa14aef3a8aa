"""What the job store has forgotten, out of history: lists of jobs, one job's story, the hours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from api.errors import HistoryDisabled
from common.errors import BackendUnavailable, JobNotFound

if TYPE_CHECKING:
    from common.history import HistoryReader
    from common.history.reader import Hour, JobRecord
    from common.job_store.queries import JobQueries
    from common.jobs.model import Job
    from common.jobs.transitions import JobState

#: Seconds for which a list does without history after it could not be read.
PAUSE: Final = 5.0

log = structlog.get_logger(__name__)


class JobHistory:
    """Joins the job store and history; the store is right where both know a job."""

    def __init__(
        self,
        queries: JobQueries,
        history: HistoryReader | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._history = history
        self._clock = clock
        self._away_until = 0.0

    def page(
        self, user: str, *, before: tuple[int, str] | None, limit: int, status: JobState | None
    ) -> tuple[list[Job], bool]:
        """As ``JobQueries.page``, and further back. History that is away shortens the list."""
        known, more = self._queries.page(user, before=before, limit=limit, status=status)
        recorded = self._recorded(user, before=before, limit=limit + 1, status=status)
        ids = {job.id for job in known}
        unlisted = [job for job in recorded if job.id not in ids]
        current = {job.id: job for job in self._queries.get_many([job.id for job in unlisted])}
        found = known + [
            job
            for job in (current.get(job.id, job) for job in unlisted)
            if status in (None, job.status)
        ]
        found.sort(key=lambda job: (job.created_at, job.id), reverse=True)
        return found[:limit], more or len(recorded) > limit or len(found) > limit

    def dossier(self, job_id: str) -> JobRecord:
        """Raises ``HistoryOff``, ``JobNotFound`` and ``BackendUnavailable``."""
        found = self._reader().job_record(job_id)
        if found is None:
            raise JobNotFound
        return found

    def hours(self, last: int) -> list[Hour]:
        """Raises ``HistoryOff`` and ``BackendUnavailable``."""
        return self._reader().hours(last=last)

    def _reader(self) -> HistoryReader:
        if self._history is None:
            raise HistoryDisabled
        return self._history

    def _recorded(
        self, user: str, *, before: tuple[int, str] | None, limit: int, status: JobState | None
    ) -> list[Job]:
        if self._history is None or self._clock() < self._away_until:
            return []
        try:
            return self._history.finished_jobs(user, before=before, limit=limit, status=status)
        except BackendUnavailable as error:
            log.warning("a list does without history", reason=error.message)
            self._away_until = self._clock() + PAUSE
            return []
