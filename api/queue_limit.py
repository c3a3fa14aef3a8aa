"""The bound of the queue: how many jobs wait, known well enough without asking for each POST."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from common.errors import QueueFull

if TYPE_CHECKING:
    from common.job_store.stats import QueueStatistics

REFRESH_EVERY: Final = 1.0
#: Seconds, told to a refused caller.
SOONEST_RETRY: Final = 1
LATEST_RETRY: Final = 60


class QueueLimit:
    """Counts the waiting jobs of all processes once a second, and its own in between."""

    def __init__(
        self,
        statistics: QueueStatistics,
        *,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statistics = statistics
        self._most = most
        self._clock = clock
        self._waiting = 0
        self._accepted_since = 0
        self._read_at = -math.inf
        #: Jobs that leave the queue in a second, as last seen; 0 when none does.
        self._drain = 0.0

    @property
    def waiting(self) -> int:
        """Jobs that wait, as far as this process knows."""
        return self._waiting + self._accepted_since

    def check(self) -> None:
        """Raises ``QueueFull``, and ``RedisError`` when the store is away."""
        self._refresh()
        excess = self.waiting - self._most + 1
        if excess > 0:
            seconds = excess / self._drain if self._drain else LATEST_RETRY
            raise QueueFull(retry_after=min(LATEST_RETRY, max(SOONEST_RETRY, seconds)))

    def accepted(self) -> None:
        """One more job waits."""
        self._accepted_since += 1

    def _refresh(self) -> None:
        now = self._clock()
        elapsed = now - self._read_at
        if elapsed < REFRESH_EVERY:
            return
        # Set before the round trip, so that the requests served during it do not all make one.
        self._read_at = now
        known = self.waiting
        accepted_before = self._accepted_since
        waiting = self._statistics.waiting()
        self._drain = max(0.0, (known - waiting) / elapsed)
        self._waiting = waiting
        self._accepted_since -= accepted_before
