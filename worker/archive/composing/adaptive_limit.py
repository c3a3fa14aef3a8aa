"""A limit for concurrent transfers that follows the throughput. Pure: no threads, no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A wider limit stays if it carries this many times more bytes per second.
MIN_GAIN = 1.15
#: Rounds until a limit that did not gain anything is tried again.
ROUNDS_TO_RETRY = 8


class AdaptiveLimit:
    """The number of transfers of one kind that may run at once.

    It is doubled while that brings more bytes per second, and set back if it does not. It is
    judged after each round, which is as many transfers as run at once. Not thread safe.
    """

    def __init__(
        self, *, start: int, maximum: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.value = start
        self._maximum = maximum
        self._clock = clock
        self._active = 0
        #: The last value that proved useful, and its bytes per second.
        self._proven, self._proven_rate = start, 0.0
        self._rounds_to_wait = 0
        self._reached = False
        self._round_started, self._transfers, self._bytes = clock(), 0, 0

    def acquire(self) -> bool:
        """Return whether another transfer may start now; ``release`` must follow then."""
        if self._active < self.value:
            self._active += 1
            return True
        self._reached = True
        return False

    def release(self, size: int) -> None:
        """End a transfer of ``size`` bytes; one of zero bytes says nothing about the throughput."""
        self._active -= 1
        self._transfers += size > 0
        self._bytes += size
        if self._transfers >= self.value:
            now = self._clock()
            # Without transfers that had to wait, a wider limit makes no difference.
            if self._reached and now > self._round_started:
                self._judge(self._bytes / (now - self._round_started))
            self._reached = False
            self._round_started, self._transfers, self._bytes = now, 0, 0

    def _judge(self, rate: float) -> None:
        if self._rounds_to_wait:
            self._rounds_to_wait -= 1
            self._proven_rate = 0.0
        elif rate >= self._proven_rate * MIN_GAIN:
            self._proven, self._proven_rate = self.value, rate
            self.value = min(2 * self.value, self._maximum)
        else:
            self.value, self._rounds_to_wait = self._proven, ROUNDS_TO_RETRY
