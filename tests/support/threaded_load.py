"""Load on a job store while something happens to it."""

from __future__ import annotations

import threading
from typing import Self

THREADS = 4


class ThreadedLoad:
    """Calls ``step`` in several threads until the block ends."""

    #: Seconds between two calls of a thread.
    pause = 0.0

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(THREADS)]

    def step(self, name: str) -> None:
        """Do one thing; ``name`` is unique."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, thread: int) -> None:
        number = 0
        while not self._stopped.wait(self.pause):
            number += 1
            self.step(f"user-{thread}-{number}")
