"""Expensive results that all callers in a process share for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

#: The default of the seconds for which a result is used again.
MAX_AGE: Final = 1.0

T = TypeVar("T")


class SharedResult(Generic[T]):
    """Calls a function at most once in ``max_age`` seconds, however many callers ask."""

    def __init__(
        self,
        read: Callable[[], T],
        *,
        max_age: float = MAX_AGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._result: T
        self._error: Exception | None = None
        self._valid_until: float | None = None

    def get(self) -> T:
        """Return a result that is at most ``max_age`` old, or raise the error of that call.

        The first caller makes the call; callers that arrive meanwhile wait for the same result.
        They share its error too: otherwise each would wait for the timeout of the one before.
        """
        with self._lock:
            if self._valid_until is None or self._clock() >= self._valid_until:
                self._call()
            if self._error is not None:
                # Otherwise the traceback would grow with each caller.
                raise self._error.with_traceback(None)
            return self._result

    def _call(self) -> None:
        self._error = None
        try:
            self._result = self._read()
        except Exception as error:  # noqa: BLE001  Raised by ``get``.
            self._error = error
        self._valid_until = self._clock() + self._max_age
