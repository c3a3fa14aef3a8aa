"""Ending what other threads wait for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from common.errors import NetworkError


class Interruptible(Protocol):
    """Something that a thread may wait for."""

    def interrupt(self) -> None:
        """Make the wait fail at once."""


class Cancelled(Exception):
    """The request was given up because its ``Stop`` was set."""


class Cancellation:
    """Ends waits at once, those inside a socket too: one for all the threads of a build."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[Interruptible] = set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """Wake every waiting thread; what they were doing ends with ``Stopped``."""
        self._event.set()
        with self._lock:
            for connection in self._connections:
                connection.interrupt()

    def wait(self, seconds: float) -> None:
        """Sleep, but not past a cancellation, which raises ``Stopped``."""
        if self._event.wait(seconds):
            raise Cancelled

    @contextmanager
    def watching(self, connection: Interruptible) -> Iterator[None]:
        with self._lock:
            if self._event.is_set():
                raise Cancelled
            self._connections.add(connection)
        try:
            yield
        except (OSError, NetworkError):
            if self._event.is_set():
                raise Cancelled from None
            raise
        finally:
            with self._lock:
                self._connections.discard(connection)
