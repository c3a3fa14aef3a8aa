"""Jobs of all users, for operators: the job store and the history as one list.

The job store knows every unfinished job, but not for long what became of it. The history knows all
jobs, but a second late, and only while PostgreSQL is available. So both are searched with the same
filter, and where both have a job, the job store is current.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from api import parsing
from api.optional_history import HistoryState, OptionalHistory
from common.errors import BackendUnavailable, JobNotFound
from common.job_store.queries import position_of
from common.jobs.transitions import TERMINAL, JobState

if TYPE_CHECKING:
    from common.history import HistoryReader
    from common.history.reader import JobRecord
    from common.job_store.queries import JobQueries, Position
    from common.job_store.search import JobSearch
    from common.jobs.filters import JobFilter
    from common.jobs.model import Job

#: Jobs that a preview counts.
MAX_COUNTED: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """A page of jobs, newest first."""

    jobs: Sequence[Job]
    #: Where the next page begins; None on the last one.
    end: Position | None
    history: HistoryState
    #: Whether jobs may be missing, because the job store has more than a search reads.
    partial: bool


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The jobs that an action could change."""

    job_ids: Sequence[str]
    #: Whether there are more than were counted.
    more: bool


@dataclass(frozen=True, kw_only=True)
class FoundJob:
    """What is known of one job."""

    #: As it is now, or as it was when the job store deleted it.
    job: Job
    #: Whether the job store still has it, so that it can be changed.
    stored: bool
    record: JobRecord | None
    history: HistoryState


class JobExplorer:
    """Searches jobs. Raises ``RedisError`` when the job store is unavailable."""

    def __init__(
        self,
        queries: JobQueries,
        search: JobSearch,
        history: HistoryReader | None,
    ) -> None:
        """``history``: None if it is disabled."""
        self._queries = queries
        self._search = search
        self._history = history
        self._optional_history = OptionalHistory(history)

    def page(self, job_filter: JobFilter, *, before: Position | None, limit: int) -> JobPage:
        """Return a page of jobs that are older than ``before``.

        It may have fewer jobs than ``limit`` although others follow: some have just changed.
        """
        recorded, state = self._optional_history.read(
            lambda history: history.search(job_filter, before=before, limit=limit + 1)
        )
        stored, partial = self._stored(job_filter, before, limit + 1, finished=state != "ok")
        known = {job.id: job for job in (*recorded, *stored)}
        stored_ids = {job.id for job in stored}
        unconfirmed = [job for job in recorded if job.id not in stored_ids]
        current = {job.id: job for job in self._queries.get_many([job.id for job in unconfirmed])}
        # The job store never removes unfinished jobs, so it has lost those that it does not have.
        lost = {job.id for job in unconfirmed if not job.terminal and job.id not in current}
        positions = sorted(map(position_of, known.values()), reverse=True)
        jobs = known | current
        return JobPage(
            jobs=[
                jobs[job_id]
                for _, job_id in positions[:limit]
                if job_id not in lost and job_filter.matches(jobs[job_id])
            ],
            end=positions[limit - 1] if len(positions) > limit else None,
            history=state,
            partial=partial,
        )

    def candidates(self, job_filter: JobFilter, states: frozenset[JobState]) -> Candidates:
        """Return the jobs in one of ``states`` that the job store has and that the filter finds."""
        wanted = states if job_filter.statuses is None else states & job_filter.statuses
        job_filter = replace(job_filter, statuses=wanted)
        limit = MAX_COUNTED + 1
        finished = bool(wanted & TERMINAL)
        found = self._search.find(job_filter, before=None, limit=limit, finished=finished)
        positions = set(found.positions)
        if finished:
            # The job store lists only some of the jobs that failed.
            recorded, _ = self._optional_history.read(
                lambda history: history.positions(job_filter, limit=limit)
            )
            positions |= set(recorded)
        job_ids = [job_id for _, job_id in sorted(positions, reverse=True)]
        existing = self.in_states(job_ids, wanted)
        more = found.partial or len(existing) > MAX_COUNTED
        return Candidates(job_ids=existing[:MAX_COUNTED], more=more)

    def in_states(self, job_ids: Sequence[str], states: frozenset[JobState]) -> list[str]:
        """Return those of the jobs that the job store has in one of ``states``."""
        statuses = self._search.statuses(job_ids)
        return [job_id for job_id in job_ids if statuses.get(job_id) in states]

    def find(self, job_id: str) -> FoundJob:
        """Return what the job store and the history know of a job.

        Raises ``JobNotFound``, and ``BackendUnavailable`` if only the history could know it.
        """
        current = next(iter(self._queries.get_many([job_id])), None)
        state: HistoryState = "off"
        record = None
        if self._history is not None:
            try:
                record, state = self._history.job_record(job_id), "ok"
            except BackendUnavailable:
                if current is None:
                    raise
                state = "unavailable"
        job = current or (record.job if record else None)
        if job is None:
            raise JobNotFound
        return FoundJob(job=job, stored=current is not None, record=record, history=state)

    def _stored(
        self, job_filter: JobFilter, before: Position | None, limit: int, *, finished: bool
    ) -> tuple[list[Job], bool]:
        if parsing.is_job_id(job_filter.id_prefix):
            jobs = self._queries.get_many([job_filter.id_prefix])
            return [job for job in jobs if before is None or position_of(job) < before], False
        found = self._search.find(job_filter, before=before, limit=limit, finished=finished)
        return self._queries.get_many([job_id for _, job_id in found.positions]), found.partial
