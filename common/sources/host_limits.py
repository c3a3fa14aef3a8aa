"""Limits for each host that files come from, so that jobs do not overload it.

They apply to each process: three workers together may use three times as much.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from common.clock import Clock
    from common.object_storage import Cancellation

#: Seconds of a limit that may be used at once after a pause.
BURST: Final = 1.0
#: Seconds between two checks while waiting.
STEP: Final = 0.25
#: Reads of a body per second of its limit, so that no pause is long.
READS_PER_SECOND: Final = 8
#: Bytes.
MIN_READ: Final = 1_024

T = TypeVar("T")
#: Called again and again while a thread waits for a limit.
OnWait = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class HostLimits:
    """What one process may do to one host; 0: no limit."""

    requests_per_second: float = 0.0
    bytes_per_second: int = 0
    connections: int = 0


NO_LIMITS: Final = HostLimits()


class HostLimiter:
    """Makes threads wait until the limits of a host allow what they want. Thread safe."""

    def __init__(self, limits: HostLimits = NO_LIMITS, *, clock: Clock = time) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        # Hosts are those of SOURCE_URL_TEMPLATE and SOURCE_REDIRECT_HOSTS, so there are few.
        self._requests = defaultdict[str, _RateLimit](
            lambda: _RateLimit(limits.requests_per_second, clock)
        )
        self._bytes = defaultdict[str, _RateLimit](
            lambda: _RateLimit(limits.bytes_per_second, clock)
        )
        self._connections = defaultdict[str, threading.Semaphore](
            lambda: threading.Semaphore(limits.connections)
        )

    @contextmanager
    def request(self, host: str, cancellation: Cancellation, on_wait: OnWait) -> Iterator[None]:
        """Wait until a request may be sent; the block is the time that its connection is in use.

        Raise ``Cancelled`` as soon as the cancellation is set.
        """
        connections = self._of(self._connections, host) if self._limits.connections else None
        if connections is not None:
            while not connections.acquire(timeout=STEP):
                cancellation.wait(0)
                on_wait()
        try:
            if self._limits.requests_per_second:
                _wait(self._of(self._requests, host).take(1), cancellation, on_wait)
            yield
        finally:
            if connections is not None:
                connections.release()

    def count_bytes(
        self, host: str, count: int, cancellation: Cancellation, on_wait: OnWait
    ) -> None:
        """Wait as long as the bytes that were received should have taken."""
        if self._limits.bytes_per_second:
            _wait(self._of(self._bytes, host).take(count), cancellation, on_wait)

    def max_read(self, limit: int) -> int:
        """Return how many bytes may be read at once."""
        if not self._limits.bytes_per_second:
            return limit
        return min(limit, max(MIN_READ, self._limits.bytes_per_second // READS_PER_SECOND))

    def _of(self, by_host: defaultdict[str, T], host: str) -> T:
        with self._lock:
            return by_host[host]


class _RateLimit:
    """Allows ``per_second`` units per second.

    Bursts may have one unit or ``BURST`` seconds' worth of them, whichever is more.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0

    def take(self, amount: int) -> float:
        """Reserve units; return the seconds to wait before they may be used."""
        with self._lock:
            now = self._clock.monotonic()
            burst = max(BURST, 1 / self._per_second)
            self._next = max(self._next, now - burst) + amount / self._per_second
            return max(0.0, self._next - now)


def _wait(seconds: float, cancellation: Cancellation, on_wait: OnWait) -> None:
    while seconds > 0:
        on_wait()
        cancellation.wait(min(seconds, STEP))
        seconds -= STEP
