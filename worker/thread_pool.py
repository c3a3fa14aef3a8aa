"""A pool of threads that tells Celery's loop when one of them is free again.

Without prefetching the loop asks the broker for a message only while a slot is free, and while all
are taken it looks once a second: a worker with four slots then runs four jobs a second at most,
however short they are. Celery's own pools of processes wake the loop by a pipe; threads have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.concurrency.thread import ApplyResult, TaskPool

if TYPE_CHECKING:
    from kombu.asynchronous.hub import Hub


class NotifyingThreadPool(TaskPool):  # type: ignore[misc]
    """Celery's pool of threads, with an end that the loop hears of at once."""

    _loop: Hub | None = None

    def register_with_event_loop(self, loop: Hub) -> None:
        self._loop = loop

    def on_apply(self, *args: Any, **kwargs: Any) -> ApplyResult:
        result = super().on_apply(*args, **kwargs)
        # By then Celery has counted the task as done.
        result.f.add_done_callback(self._wake)
        return result

    def _wake(self, _: object) -> None:
        if self._loop is not None:
            # Thread safe; what is called does not matter, for each turn of the loop looks anew.
            self._loop.call_soon(int)  # type: ignore[no-untyped-call]
