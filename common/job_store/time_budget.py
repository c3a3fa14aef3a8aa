"""Limits the time that one request waits for the job store in total.

Each call has a timeout, but a request makes several calls: over a slow connection every one of them
may succeed just in time while the whole request takes far too long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: A timeout of zero would make a socket non-blocking.
_SHORTEST: Final = 0.01


class TimeBudget:
    """The seconds that a request may still wait for the job store.

    A greenlet or thread that is started meanwhile inherits it, and may outlive the request: after
    ``end`` it limits nothing.
    """

    __slots__ = ("_left",)

    def __init__(self, seconds: float) -> None:
        self._left: float | None = seconds

    def end(self) -> None:
        self._left = None

    @property
    def ended(self) -> bool:
        return self._left is None

    def limit(self, timeout: float) -> float:
        """Return ``timeout``, or the time that is left if that is shorter."""
        if self._left is None:
            return timeout
        return max(_SHORTEST, min(timeout, self._left))

    def spend(self, seconds: float) -> None:
        if self._left is not None:
            self._left -= seconds


_current: ContextVar[TimeBudget | None] = ContextVar("time_budget", default=None)


def begin(seconds: float) -> TimeBudget:
    """Limit the waiting of this greenlet or thread, from now on until ``end``."""
    budget = TimeBudget(seconds)
    _current.set(budget)
    return budget


def current() -> TimeBudget | None:
    """Return the budget of this greenlet or thread."""
    return _current.get()


@contextmanager
def waiting(timeout: float | None) -> Iterator[float | None]:
    """Yield how long to wait for the job store, at most ``timeout``, and count the time.

    None: forever.
    """
    budget = _current.get()
    if budget is None or budget.ended:
        yield timeout
        return
    started = time.monotonic()
    try:
        yield budget.limit(math.inf if timeout is None else timeout)
    finally:
        budget.spend(time.monotonic() - started)
