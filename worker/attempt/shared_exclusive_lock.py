"""Lets the jobs of one worker run side by side, or one of them alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SharedExclusiveLock:
    """A shared/exclusive (readers-writer) lock.

    Jobs share it, and a poison job holds it exclusively. A job that waits to run alone has
    precedence: no other one starts meanwhile.
    """

    def __init__(self, condition: Callable[[], threading.Condition] = threading.Condition) -> None:
        self._changed = condition()
        self._running = 0
        self._waiting = 0
        self._alone = False

    @contextmanager
    def shared(self, timeout: float) -> Iterator[bool]:
        """Run beside others; yield False if a job ran alone for all of ``timeout`` seconds."""
        with self._changed:
            allowed = self._changed.wait_for(lambda: not self._waiting, timeout)
            self._running += allowed
        try:
            yield allowed
        finally:
            with self._changed:
                self._running -= allowed
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[Callable[[float], bool]]:
        """Let no other job start. Yield a function that waits for the end of those that run.

        It takes a timeout in seconds, and returns whether the caller is alone now.
        """
        is_alone = False

        def wait(timeout: float) -> bool:
            nonlocal is_alone
            with self._changed:
                if not is_alone:
                    is_alone = self._changed.wait_for(
                        lambda: not self._running and not self._alone, timeout
                    )
                    self._alone |= is_alone
            return is_alone

        with self._changed:
            self._waiting += 1
        try:
            yield wait
        finally:
            with self._changed:
                self._waiting -= 1
                if is_alone:
                    self._alone = False
                self._changed.notify_all()
