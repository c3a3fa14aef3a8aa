"""Runs the thread that records the history."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stack.process import wait_until

if TYPE_CHECKING:
    from worker.maintenance.history_recorder import HistoryRecorder


@contextmanager
def recording(recorder: HistoryRecorder) -> Iterator[None]:
    """Record until the block ends, and then until the thread has given its connection back.

    An engine that is disposed of before leaves that connection open.
    """
    before = set(threading.enumerate())
    recorder.start()
    threads = set(threading.enumerate()) - before
    try:
        yield
    finally:
        recorder.stop()
        wait_until(lambda: not any(thread.is_alive() for thread in threads), "the recorder's end")
