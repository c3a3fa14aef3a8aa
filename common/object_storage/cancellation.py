"""Cancels requests that run in other threads."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Protocol

from common.errors import NetworkError
from common.object_storage.retry_budget import RetryBudget

#: Seconds for which a job retries while all of its requests to the object storage fail.
MAX_OUTAGE = 1.0


class Interruptible(Protocol):
    """A connection that a thread may be waiting for."""

    def interrupt(self) -> None:
        """Make a read or write in another thread fail immediately."""


class Cancelled(Exception):
    """The request was aborted because its ``Cancellation`` was set."""


class Cancellation:
    """Ends all waits of a group of threads immediately, including reads from sockets."""

    def __init__(self, storage_retries: RetryBudget | None = None) -> None:
        """``storage_retries``: the budget of another group, or None for a new one."""
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[Interruptible] = set()
        #: Shared by the same threads: for the object storage, and for the host of a source.
        self.storage_retries = storage_retries or RetryBudget(max_outage=MAX_OUTAGE)
        self.source_retries = RetryBudget()

    @property
    def requested(self) -> bool:
        """Return whether the threads have to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Interrupt every waiting thread with ``Cancelled``."""
        self._event.set()
        with self._lock:
            for connection in self._connections:
                connection.interrupt()

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds``; raise ``Cancelled`` as soon as the cancellation is set."""
        if self._event.is_set() or (seconds > 0 and self._event.wait(seconds)):
            raise Cancelled

    def interrupting(self, connection: Interruptible) -> AbstractContextManager[None]:
        """Interrupt ``connection`` when the cancellation is set inside the block."""
        return _Interrupting(self, connection)

    def add(self, connection: Interruptible) -> None:
        """Interrupt ``connection`` when the cancellation is set; raise Cancelled if it is set."""
        with self._lock:
            if self._event.is_set():
                raise Cancelled
            self._connections.add(connection)

    def remove(self, connection: Interruptible) -> None:
        """Leave ``connection`` alone from now on."""
        with self._lock:
            self._connections.discard(connection)


class _Interrupting:
    """The block in which a connection may be interrupted. Each request enters one."""

    __slots__ = ("_cancellation", "_connection")

    def __init__(self, cancellation: Cancellation, connection: Interruptible) -> None:
        self._cancellation = cancellation
        self._connection = connection

    def __enter__(self) -> None:
        self._cancellation.add(self._connection)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._cancellation.remove(self._connection)
        if isinstance(error, OSError | NetworkError) and self._cancellation.requested:
            raise Cancelled from None
