"""A minimum transfer rate, so that a source that sends very slowly cannot occupy a worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.errors import DownloadTimeout
from common.task_group import SupportsCheck


class _Reading:
    """The bytes that one read has received in the current window."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.count = 0

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
        self._lock = threading.Lock()
        self._readings: set[_Reading] = set()

    def check(self) -> None:
        """Raise what the control raises, and DownloadTimeout for a read below the rate."""
        self._control.check()
        now = time.monotonic()
        with self._lock:
            due = [r for r in self._readings if now - r.since >= self._window]
        for reading in due:
            if reading.count < self._min_bytes:
                raise DownloadTimeout("A source sends too slowly")
            reading.since, reading.count = now, 0

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], None]]:
        """Measure one read; yield the function to call with the number of bytes received.

        It starts the measurement again if it is called with 0.
        """
        reading = _Reading()
        with self._lock:
            self._readings.add(reading)
        try:
            yield reading.advance
        finally:
            with self._lock:
                self._readings.discard(reading)
