"""Runs the steps of one job on several threads that stop together."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from common.object_storage import Cancellation, Cancelled

#: Seconds between two checks of the control.
CHECK_INTERVAL = 0.25
#: Seconds for which cancelled threads are waited for.
CANCEL_TIMEOUT = 0.7

T = TypeVar("T")


class SupportsCheck(Protocol):
    """The part of a job's control that can stop its work."""

    def check(self) -> None:
        """Raise an error if the work must stop."""


class TaskGroup:
    """Threads that work on one job, and stop together when the control or one of them fails."""

    def __init__(self, control: SupportsCheck) -> None:
        self._control = control
        self.cancellation = Cancellation()

    def each(self, step: Callable[[T], None], items: Iterable[T], *, concurrency: int) -> None:
        """Call ``step`` for every item, on at most ``concurrency`` threads, in the items' order.

        Items are taken one at a time, so a generator may do work, or wait for a resource that the
        steps release. The first error of a step, of the items or of the control cancels the other
        steps, and is raised within a second even if a step does not notice the cancellation.
        """
        run = _Run(iter(items), step, self.cancellation)
        # Copies of the context pass on the log and trace ids.
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(run.work,), daemon=True)
            for _ in range(max(1, concurrency))
        ]
        try:
            for thread in threads:
                thread.start()
                if run.exhausted:
                    break
            while not run.ended.wait(CHECK_INTERVAL):
                self._control.check()
        except BaseException:
            self.cancellation.set()
            run.join(threads)
            raise
        run.join(threads)
        if run.error is not None:
            raise run.error

    def call(self, step: Callable[[], T]) -> T:
        """Run one step on a thread, and check the control meanwhile; return its result."""
        results: list[T] = []
        self.each(lambda _: results.append(step()), (None,), concurrency=1)
        return results[0]


class _Run(Generic[T]):
    """The state of one call of ``each``, shared by its threads."""

    def __init__(
        self, items: Iterator[T], step: Callable[[T], None], cancellation: Cancellation
    ) -> None:
        self._items = items
        self._step = step
        self._cancellation = cancellation
        #: Held while an item is taken. It is not the lock of the state: an item may have to wait
        #: for what running steps release, and a step that fails has to be able to report that.
        self._items_lock = threading.Lock()
        self._lock = threading.Lock()
        #: Threads that take an item or run a step.
        self._running = 0
        #: No further step starts.
        self.exhausted = False
        self.error: BaseException | None = None
        #: Set when no step runs and none will start, or when one has failed.
        self.ended = threading.Event()

    def work(self) -> None:
        """Run steps until there are no more; the target of each thread."""
        while True:
            with self._lock:
                self._running += 1
            taken: tuple[T] | tuple[()] = ()
            try:
                with self._items_lock:
                    taken = self._take()
                if taken:
                    self._step(taken[0])
            except BaseException as error:  # noqa: BLE001  ``each`` raises it
                self._fail(error)
            more = bool(taken)
            # A thread that waits for the next item must not keep this one in memory.
            taken = ()
            with self._lock:
                self._running -= 1
                if self.exhausted and self._running == 0:
                    self.ended.set()
            if not more:
                return

    def join(self, threads: list[threading.Thread]) -> None:
        deadline = time.monotonic() + CANCEL_TIMEOUT
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _take(self) -> tuple[T] | tuple[()]:
        """Return the next item, or nothing when there is none or the steps were cancelled."""
        if not self.exhausted and not self._cancellation.requested:
            for item in self._items:
                return (item,)
        self.exhausted = True
        return ()

    def _fail(self, error: BaseException) -> None:
        # The cancellation ends waits of other threads, so it must not wait for any lock itself.
        self._cancellation.set()
        with self._lock:
            self.exhausted = True
            if self.error is None or isinstance(self.error, Cancelled):
                self.error = error
            self.ended.set()
