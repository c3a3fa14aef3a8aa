"""When to try again: a clock that tests replace, and a backoff with jitter."""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds, and waiting."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def backoff(failures: int, *, first: float = 0.5, most: float = 10.0) -> float:
    """Seconds to wait after the n-th failure in a row (n >= 1).

    Doubles from ``first`` to ``most``; the upper half is random, so that many clients that lost the
    same server do not come back at the same moment.
    """
    ceiling = min(most, first * 2.0 ** (failures - 1))
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def jittered(seconds: float) -> float:
    """``seconds`` and up to a quarter more, so that clients fall out of step with each other."""
    return seconds * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, guards nothing
