"""A bound for the memory of parts in the making."""

from __future__ import annotations

import threading

from common.object_storage import Cancellation, Cancelled


class MemoryBudget:
    """So many bytes may be out at a time; one request larger than that gets them all alone."""

    def __init__(self, size: int, cancellation: Cancellation) -> None:
        self._size = size
        self._cancellation = cancellation
        self._out = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes are free; raises Stopped if the work was stopped."""
        with self._changed:
            while self._out and self._out + size > self._size:
                if self._cancellation.requested:
                    raise Cancelled
                self._changed.wait(0.1)
            self._out += size

    def give(self, size: int) -> None:
        with self._changed:
            self._out -= size
            self._changed.notify()
