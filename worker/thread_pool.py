"""A thread pool that wakes Celery's event loop when a thread becomes free.

Without prefetching, the loop requests a message from the broker only while a slot is free. While
all are busy it checks once a second, so that a worker with four slots runs at most four jobs a
second, however short they are. Celery's process pools wake the loop by a pipe; its thread pool
does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.concurrency.thread import ApplyResult, TaskPool

if TYPE_CHECKING:
    from kombu.asynchronous.hub import Hub


class FixedSizeError(ValueError):
    """The number of slots cannot change: the worker registry and the metrics report it."""

    def __init__(self) -> None:
        super().__init__("The number of slots is fixed. Set WORKER_CONCURRENCY, restart the worker")


class NotifyingThreadPool(TaskPool):  # type: ignore[misc]
    """Celery's thread pool, plus a notification when a task ends."""

    _loop: Hub | None = None

    def register_with_event_loop(self, loop: Hub) -> None:
        self._loop = loop

    def on_apply(self, *args: Any, **kwargs: Any) -> ApplyResult:
        result = super().on_apply(*args, **kwargs)
        # When this callback runs, Celery has freed the slot.
        result.f.add_done_callback(self._wake)
        return result

    def grow(self, n: int = 1) -> None:  # noqa: ARG002
        """Reject Celery's command ``pool_grow``; the reply to it has the message."""
        raise FixedSizeError

    def shrink(self, n: int = 1) -> None:  # noqa: ARG002
        """Reject Celery's command ``pool_shrink``; the reply to it has the message."""
        raise FixedSizeError

    def _wake(self, _: object) -> None:
        if self._loop is not None:
            # Thread safe. Any callback will do: the loop checks for free slots on every iteration.
            self._loop.call_soon(int)  # type: ignore[no-untyped-call]
