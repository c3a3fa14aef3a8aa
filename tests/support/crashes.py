"""Simulates a worker that is killed at any call: this call and all later ones raise ``Crash``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Crash(BaseException):
    """The worker was killed."""


class CrashPoints:
    """Records calls and crashes at call number ``crash_at``, before or after it takes effect.

    ``hook`` gets the name of every call first, and may raise errors. Thread safe.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.crash_at: int | None = None
        self.crash_before = True
        self.hook: Any = lambda _: None
        self._dead = False
        self._lock = threading.RLock()

    def restart(self, *, crash_at: int | None = None, before: bool = True) -> None:
        """Continue with a new worker and the same storage."""
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
    """Stores records in memory; its calls are counted with those of the storage."""

    steps: CrashPoints
    records: list[bytes] = field(default_factory=list)
    #: Every record, also those that were cleared.
    history: list[bytes] = field(default_factory=list)

    def load(self) -> list[bytes]:
        return list(self.records)

    def append(self, record: bytes) -> None:
        with self.steps.step("append_record"):
            self.records.append(record)
            self.history.append(record)

    def clear(self) -> None:
        with self.steps.step("clear_records"):
            self.records.clear()
