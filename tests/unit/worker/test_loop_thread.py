"""A thread beside the jobs goes on after any error."""

from __future__ import annotations

import threading

import pytest

from worker import loop_thread
from worker.loop_thread import LoopThread


class FailsFirst(LoopThread):
    """Fails in its first step, and notes when it makes the second one."""

    def __init__(self) -> None:
        super().__init__("test")
        self.second_step = threading.Event()
        self._has_failed = False

    def step(self) -> float:
        if not self._has_failed:
            self._has_failed = True
            raise ValueError
        self.second_step.set()
        return 60.0


def test_an_unexpected_error_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_thread, "_ERROR_PAUSE", 0.01)
    thread = FailsFirst()
    thread.start()
    assert thread.second_step.wait(5)
    thread.stop()
