"""Decides whether a worker may be believed to be dead.

A lease that expired, or a connection that is gone, proves nothing if the job store itself did not
respond for a while: then no worker could extend a lease, and some connections ran into their
timeouts. The same holds when the store's clock has jumped. So leases are believed only while this
sweeper itself was in contact with the store all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: Seconds by which the store's clock and this process's may drift apart between two contacts.
MAX_CLOCK_STEP: Final = 2.0


class StoreContact:
    """The contact of one sweeper with the job store."""

    def __init__(
        self, *, max_gap: float, grace: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start without trust.

        ``max_gap``: seconds between two responses of the store above which it may have stalled.
        ``grace``: seconds for which every lease counts as live after that.
        """
        self._max_gap = max_gap
        self._grace = grace
        self._clock = clock
        self._responded_at = clock()
        self._trusted_from = clock() + grace
        self._clock_difference: float | None = None

    def responded(self, store_time: float) -> None:
        """Note a response: ``store_time`` is the store's clock in seconds."""
        now = self._clock()
        difference = store_time - now
        if self._clock_difference is None:
            self._clock_difference = difference
        jumped = abs(difference - self._clock_difference) > MAX_CLOCK_STEP
        if jumped or now - self._responded_at > self._max_gap:
            self.lost()
        self._responded_at = now
        self._clock_difference = difference

    def lost(self) -> None:
        """Note that the store did not respond, or lost its clock or its data."""
        self._trusted_from = self._clock() + self._grace

    @property
    def reliable(self) -> bool:
        """Whether every living worker could extend its leases."""
        return self._clock() >= self._trusted_from
