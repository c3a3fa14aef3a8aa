"""Detects stalls of the job store and jumps of its clock.

After these, an expired lease or a missing connection proves nothing: while the store did not
respond, no worker could extend a lease, and some connections ran into their timeouts. So a sweeper
relies on leases only after the store has responded to it without a gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: Seconds by which the store's clock and this process's may drift apart between two responses.
MAX_CLOCK_STEP: Final = 2.0


class StallDetector:
    """Detects for one sweeper when an expired lease proves nothing."""

    def __init__(
        self, *, max_gap: float, grace: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Treat leases as unreliable for the first ``grace`` seconds.

        ``max_gap``: seconds between two responses of the store above which it may have stalled.
        ``grace``: seconds for which every lease counts as live after that.
        """
        self._max_gap = max_gap
        self._grace = grace
        self._clock = clock
        self._responded_at = clock()
        self._reliable_from = clock() + grace
        self._clock_difference: float | None = None

    def record_response(self, store_time: float) -> None:
        """Record a response: ``store_time`` is the store's clock in seconds."""
        now = self._clock()
        difference = store_time - now
        if self._clock_difference is None:
            self._clock_difference = difference
        jumped = abs(difference - self._clock_difference) > MAX_CLOCK_STEP
        if jumped or now - self._responded_at > self._max_gap:
            self.record_failure()
        self._responded_at = now
        self._clock_difference = difference

    def record_failure(self) -> None:
        """Record that the store did not respond, or that its clock jumped."""
        self._reliable_from = self._clock() + self._grace

    @property
    def leases_are_reliable(self) -> bool:
        """Whether every living worker could extend its leases."""
        return self._clock() >= self._reliable_from
