"""A limit for calls that have none themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def call_within(seconds: float, call: Callable[[float], T], slots: threading.BoundedSemaphore) -> T:
    """Return the result of ``call``, which gets its deadline. Raise ``TimeoutError`` after it.

    The call runs in a thread: neither the resolver of names nor a server that sends its response
    byte by byte respects the timeouts of sockets. Until it ends, it occupies one of ``slots``.
    """
    deadline = time.monotonic() + seconds
    results: SimpleQueue[T | Exception] = SimpleQueue()
    if not slots.acquire(timeout=seconds):
        raise TimeoutError("too many calls are in progress")

    def run() -> None:
        try:
            results.put(call(deadline))
        except Exception as error:  # noqa: BLE001  Raised again by the caller.
            results.put(error)
        finally:
            slots.release()

    try:
        threading.Thread(target=run, name="call_within", daemon=True).start()
    except RuntimeError:  # There are too many threads.
        slots.release()
        raise
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise TimeoutError("the call takes too long") from None
    if isinstance(result, Exception):
        raise result
    return result
