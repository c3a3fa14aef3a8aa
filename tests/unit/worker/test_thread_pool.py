"""The pool's threads and Celery's loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from worker.thread_pool import NotifyingThreadPool


class Loop:
    """Notes when it is woken."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def call_soon(self, callback: Callable[[], object]) -> None:
        callback()
        self.woken.set()


def test_a_thread_that_becomes_free_wakes_the_loop_once_celery_knows_of_it() -> None:
    loop, began, may_end = Loop(), threading.Event(), threading.Event()
    known: list[bool] = []
    pool = NotifyingThreadPool(limit=1)
    pool.register_with_event_loop(loop)

    def work() -> None:
        began.set()
        may_end.wait(5)

    pool.apply_async(work, callback=lambda _: known.append(loop.woken.is_set()))
    assert began.wait(5)
    assert not loop.woken.is_set()
    may_end.set()
    assert loop.woken.wait(5)
    assert known == [False]
    pool.on_stop()


def test_a_task_that_breaks_wakes_the_loop_too() -> None:
    loop = Loop()
    pool = NotifyingThreadPool(limit=1)
    pool.register_with_event_loop(loop)

    def work() -> None:
        raise ValueError

    pool.apply_async(work, callback=lambda _: None)
    assert loop.woken.wait(5)
    pool.on_stop()
