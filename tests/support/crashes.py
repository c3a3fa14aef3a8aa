"""A worker that can be killed at any call: that one and all after it raise ``Crash``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Crash(BaseException):
    """The worker is gone."""


class Steps:
    """Counts calls. ``crash_at`` is the one that crashes, before or after it took effect.

    ``hook`` is told every call's name first and may raise errors of its own. Thread safe.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.crash_at: int | None = None
        self.crash_before = True
        self.hook: Any = lambda _: None
        self._dead = False
        self._lock = threading.RLock()

    def revive(self, *, crash_at: int | None = None, before: bool = True) -> None:
        """A new worker meets the same store."""
        with self._lock:
            self._dead = False
            self.calls = []
            self.crash_at, self.crash_before = crash_at, before

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        with self._lock:
            if self._dead:
                raise Crash
            self.calls.append(name)
            self.hook(name)
            crashes = self.crash_at == len(self.calls)
            if crashes and self.crash_before:
                self._dead = True
                raise Crash
            yield
            if crashes:
                self._dead = True
                raise Crash


@dataclass
class MemoryCheckpoint:
    """Keeps records beyond the life of a worker; its calls count among the others."""

    steps: Steps
    records: list[bytes] = field(default_factory=list)

    def load(self) -> list[bytes]:
        return list(self.records)

    def append(self, record: bytes) -> None:
        with self.steps.step("append_record"):
            self.records.append(record)

    def clear(self) -> None:
        with self.steps.step("clear_records"):
            self.records.clear()
