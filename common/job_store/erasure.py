"""Erases the jobs of a user from the job store, in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from common.errors import JobConflict, JobNotFound
from common.job_store import keys
from common.job_store.cluster import node_of
from common.job_store.scripts import Scripts
from common.jobs.transitions import TERMINAL

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.jobs import JobStore

#: Jobs that are listed at once.
BATCH: Final = 100


@dataclass(kw_only=True)
class ErasedCounts:
    """How much was erased."""

    jobs: int = 0
    #: Unfinished jobs that were cancelled before.
    cancelled: int = 0
    links: int = 0
    #: Archives that a worker deletes unless other jobs need them.
    archives: int = 0


class JobErasure:
    """Erases users. Raises ``RedisError`` when the store is unavailable."""

    def __init__(
        self,
        client: Redis,
        jobs: JobStore,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._clock = clock
        self._scripts = Scripts(client)

    def now(self, user: str) -> int:
        """Return the time of the server that has the user's jobs, ms since 1970."""
        seconds, micros = node_of(self._client, keys.user_jobs(user)).time()
        return int(seconds) * 1000 + int(micros) // 1000

    def erase_listed(self, user: str, counts: ErasedCounts, deadline: float) -> bool:
        """Erase the jobs on the user's list, newest first; return whether none is left.

        Stop at ``deadline``. ``counts`` is updated.
        """
        while self._clock() < deadline:
            ids: Any = self._client.zrange(keys.user_jobs(user), 0, BATCH - 1, desc=True)
            if not ids:
                self._forget(user)
                return True
            self.erase(user, ids, counts, deadline)
        return False

    def erase(
        self, user: str, job_ids: Iterable[str], counts: ErasedCounts, deadline: float
    ) -> bool:
        """Erase these jobs if they are the user's; return whether all are erased."""
        is_complete = True
        for job_id in job_ids:
            if self._clock() >= deadline:
                return False
            is_complete &= self._erase_job(user, job_id, counts)
        return is_complete

    def _erase_job(self, user: str, job_id: str, counts: ErasedCounts) -> bool:
        args = {"id": job_id, "user": user, "terminal": ",".join(sorted(TERMINAL))}
        result = self._scripts.call("erase", keys.status(job_id), args)
        if result[0] == "UNFINISHED":
            counts.cancelled += self._cancel(job_id)
            result = self._scripts.call("erase", keys.status(job_id), args)
        if result[0] == "UNFINISHED":
            return False  # It was restarted meanwhile.
        jobs, links, archives = map(int, result[1:])
        counts.jobs += jobs
        counts.links += links
        counts.archives += archives
        return True

    def _cancel(self, job_id: str) -> int:
        try:
            self._jobs.cancel(job_id)
        except (JobConflict, JobNotFound):
            return 0
        return 1

    def _forget(self, user: str) -> None:
        """Delete what else is stored of a user without jobs."""
        now = self.now(user)
        today, minute = now // 86_400_000, now // 60_000
        with self._client.pipeline(transaction=False) as pipe:
            for day in (today - 1, today, today + 1):
                pipe.delete(keys.user_bytes(user, day))
            for each in (minute - 1, minute):
                pipe.delete(keys.user_rate(user, each))
            pipe.delete(keys.webhook_secret(user))
            pipe.execute()
