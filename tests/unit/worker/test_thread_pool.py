"""The thread pool wakes Celery's event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from worker.thread_pool import NotifyingThreadPool


class Loop:
    """Records that it was woken."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def call_soon(self, callback: Callable[[], object]) -> None:
        callback()
        self.woken.set()


def test_a_finished_task_wakes_the_loop_after_celery_has_freed_the_slot() -> None:
    loop, started, may_end = Loop(), threading.Event(), threading.Event()
    woken_before_callback: list[bool] = []
    pool = NotifyingThreadPool(limit=1)
    pool.register_with_event_loop(loop)

    def work() -> None:
        started.set()
        may_end.wait(5)

    pool.apply_async(work, callback=lambda _: woken_before_callback.append(loop.woken.is_set()))
    assert started.wait(5)
    assert not loop.woken.is_set()
    may_end.set()
    assert loop.woken.wait(5)
    assert woken_before_callback == [False]
    pool.on_stop()


def test_a_failed_task_wakes_the_loop() -> None:
    loop = Loop()
    pool = NotifyingThreadPool(limit=1)
    pool.register_with_event_loop(loop)

    def work() -> None:
        raise ValueError

    pool.apply_async(work, callback=lambda _: None)
    assert loop.woken.wait(5)
    pool.on_stop()
