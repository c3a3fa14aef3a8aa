"""The limit of the queue's length, checked without a round trip for each request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from common.errors import QueueFull

#: Seconds.
REFRESH_INTERVAL: Final = 1.0
#: Seconds that a rejected client is asked to wait.
MIN_RETRY_AFTER: Final = 1
MAX_RETRY_AFTER: Final = 60


class WaitingJobs(Protocol):
    """Counts the queue: the ``Forecaster``."""

    def waiting(self) -> int:
        """Return the number of queued jobs that could run now. Raises ``RedisError``."""


class QueueLimit:
    """Rejects new jobs while too many are waiting.

    The number of waiting jobs is read once a second; in between, the jobs that this process
    accepts are added.
    """

    def __init__(
        self,
        waiting_jobs: WaitingJobs,
        *,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting_jobs = waiting_jobs
        self._max_waiting = max_waiting
        self._clock = clock
        self._waiting = 0
        self._accepted_since = 0
        self._read_at = -math.inf
        #: Jobs that left the queue per second, as of the last reading.
        self._drain_rate = 0.0

    @property
    def waiting(self) -> int:
        """The number of waiting jobs, as far as this process knows."""
        return self._waiting + self._accepted_since

    def check(self) -> None:
        """Raise ``QueueFull`` if the queue is full, ``RedisError`` if the job store is unavailable.

        ``QueueFull.retry_after`` is estimated from how fast the queue drains.
        """
        self._refresh()
        excess = self.waiting - self._max_waiting + 1
        if excess > 0:
            seconds = excess / self._drain_rate if self._drain_rate else MAX_RETRY_AFTER
            raise QueueFull(retry_after=min(MAX_RETRY_AFTER, max(MIN_RETRY_AFTER, seconds)))

    def count_accepted(self) -> None:
        """Count one more waiting job."""
        self._accepted_since += 1

    def _refresh(self) -> None:
        now = self._clock()
        elapsed = now - self._read_at
        if elapsed < REFRESH_INTERVAL:
            return
        # Set before the round trip, so that requests served in the meantime do not repeat it.
        self._read_at = now
        waiting_before = self.waiting
        accepted_before = self._accepted_since
        waiting = self._waiting_jobs.waiting()
        self._drain_rate = max(0.0, (waiting_before - waiting) / elapsed)
        self._waiting = waiting
        self._accepted_since -= accepted_before
