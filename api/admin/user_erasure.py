"""Erases everything stored about a user: a note in the history, the job store, the history."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.job_store.erasure import BATCH, ErasedCounts, JobErasure

if TYPE_CHECKING:
    from common.history import HistoryErasure

#: Seconds after which a request ends incomplete. The client repeats it to continue.
MAX_SECONDS: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What one request has erased."""

    is_complete: bool
    counts: ErasedCounts
    #: Rows of jobs, with everything that refers to them, and of days of usage.
    history: int


class UserErasure:
    """Erases users in requests of limited time. Idempotent: a repeated request continues."""

    def __init__(
        self,
        jobs: JobErasure,
        history: HistoryErasure | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``history``: None if it is disabled."""
        self._jobs = jobs
        self._history = history
        self._clock = clock

    def erase(self, user: str) -> Erased:
        """Erase as much as the time allows.

        Raises ``RedisError``, and ``BackendUnavailable`` if the history is unavailable.
        """
        deadline = self._clock() + MAX_SECONDS
        counts = ErasedCounts()
        if self._history is not None:
            # First, so that the recorder does not record again what is erased below.
            self._history.note(user, self._jobs.now(user))
        is_complete = self._jobs.erase_listed(user, counts, deadline)
        history = 0
        if is_complete and self._history is not None:
            is_complete, history = self._erase_history(self._history, user, counts, deadline)
        return Erased(is_complete=is_complete, counts=counts, history=history)

    def _erase_history(
        self, history: HistoryErasure, user: str, counts: ErasedCounts, deadline: float
    ) -> tuple[bool, int]:
        """Erase what is recorded; return whether nothing is left, and the number of rows."""
        rows = 0
        while self._clock() < deadline:
            job_ids = history.job_ids(user, BATCH)
            if not job_ids:
                return True, rows + history.delete_usage(user)
            # The job store still has some that are too old for the user's list.
            if not self._jobs.erase(user, job_ids, counts, deadline):
                break
            rows += history.delete_jobs(job_ids)
        return False, rows
