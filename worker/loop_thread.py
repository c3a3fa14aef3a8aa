"""The base of the threads that run beside the jobs."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Final

import structlog

#: Seconds until the next step after one that raised an error.
_ERROR_PAUSE: Final = 1.0

log = structlog.get_logger(__name__)


class LoopThread(ABC):
    """A daemon thread that calls ``step`` until it is stopped."""

    #: Seconds before the first step.
    first_pause: float = 0.0

    def __init__(self, name: str) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def step(self) -> float:
        """Make one round; return the seconds until the next one."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make no more rounds. Does not wait for the current one."""
        self._stopped.set()

    def _run(self) -> None:
        pause = self.first_pause
        while not self._stopped.wait(pause):
            try:
                pause = self.step()
            except Exception:
                # A thread that ended would not be missed until something is left undone for long.
                log.exception("thread raised an unexpected error", thread=self._thread.name)
                pause = _ERROR_PAUSE
