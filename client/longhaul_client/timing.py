"""Backoff with jitter, and a clock that tests can replace."""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time in seconds, and sleeping."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The clock of the operating system."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def backoff(failures: int, *, first: float = 0.5, maximum: float = 10.0) -> float:
    """Return the seconds to wait after a number of consecutive failures (at least 1).

    The pause doubles from ``first`` to ``maximum``. Its upper half is random, so that clients that
    lost the same server do not all come back at the same moment.
    """
    # The exponent is limited, because a float overflows after 1,024 failures.
    ceiling = min(maximum, first * 2.0 ** min(failures - 1, 30))
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, not a secret


def jittered(seconds: float) -> float:
    """Return ``seconds`` plus up to 25%, so that clients do not poll in lockstep."""
    return seconds * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, not a secret
