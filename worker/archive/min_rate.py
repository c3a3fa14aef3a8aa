"""A minimum transfer rate, so that a source that sends very slowly cannot occupy a worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from common.errors import DownloadTimeout
from common.task_group import SupportsCheck


class _Reading:
    """The bytes that one read has received in the current window."""

    __slots__ = ("_readings", "count", "since")

    def __init__(self, readings: set[_Reading]) -> None:
        self._readings = readings
        self.since = time.monotonic()
        self.count = 0

    def __enter__(self) -> Callable[[int], None]:
        self._readings.add(self)
        return self.advance

    def __exit__(self, *_: object) -> None:
        self._readings.discard(self)

    def advance(self, count: int) -> None:
        if count == 0:
            # The read waits for a limit of this process, which says nothing about the source.
            self.since, self.count = time.monotonic(), 0
        self.count += count


class MinRate:
    """A control that also ends the job when one read stays below the minimum rate."""

    def __init__(self, control: SupportsCheck, *, min_rate: int, window: float) -> None:
        """``min_rate`` is in bytes per second, measured over each ``window`` seconds of a read."""
        self._control = control
        self._min_bytes = min_rate * window
        self._window = window
        self._readings: set[_Reading] = set()

    def check(self) -> None:
        """Raise what the control raises, and DownloadTimeout for a read below the rate."""
        self._control.check()
        now = time.monotonic()
        # A copy, because other threads add readings without a lock.
        due = [r for r in self._readings.copy() if now - r.since >= self._window]
        for reading in due:
            if reading.count < self._min_bytes:
                raise DownloadTimeout("A source sends too slowly")
            reading.since, reading.count = now, 0

    def reading(self) -> AbstractContextManager[Callable[[int], None]]:
        """Measure one read; yield the function to call with the number of bytes received.

        It starts the measurement again if it is called with 0.
        """
        return _Reading(self._readings)
