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

    def __init__(self, control: SupportsCheck, *, slots: threading.Semaphore | None = None) -> None:
        """``slots``: each step takes one, if the groups that share them are limited together."""
        self._control = control
        self._slots = slots
        self.cancellation = Cancellation()

    def each(self, step: Callable[[T], None], items: Iterable[T], *, concurrency: int) -> None:
        """Call ``step`` for every item, on at most ``concurrency`` threads, in the items' order.

        Items are taken one at a time, so a generator may do work, or wait for a resource that the
        steps release. Threads are started as they are needed: short steps run on few. The first
        error of a step, of the items or of the control cancels the other steps, and is raised
        within a second even if a step does not notice the cancellation.
        """
        max_threads = max(1, concurrency)
        slots = self._slots or threading.Semaphore(max_threads)
        run = _Run(iter(items), step, self.cancellation, slots, max_threads=max_threads)
        try:
            run.start_thread()
            while not run.ended.wait(CHECK_INTERVAL):
                self._control.check()
        except BaseException:
            self.cancellation.set()
            run.join()
            raise
        run.join()
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
        self,
        items: Iterator[T],
        step: Callable[[T], None],
        cancellation: Cancellation,
        slots: threading.Semaphore,
        *,
        max_threads: int,
    ) -> None:
        self._items = items
        self._step = step
        self._cancellation = cancellation
        self._slots = slots
        self._max_threads = max_threads
        #: With the log and trace ids; each thread gets a copy.
        self._context = contextvars.copy_context()
        self._threads: list[threading.Thread] = []
        #: Held while an item is taken. It is not the lock of the state: an item may have to wait
        #: for what running steps release, and a step that fails has to be able to report that.
        self._items_lock = threading.Lock()
        self._lock = threading.Lock()
        #: Threads that have not ended, and those of them that wait for an item or take it.
        self._running = self._waiting = 0
        #: No further step starts.
        self._exhausted = False
        self.error: BaseException | None = None
        #: Set when no step runs and none will start, or when one has failed.
        self.ended = threading.Event()

    def start_thread(self) -> None:
        """Start another thread, unless one waits for an item already or there are enough."""
        with self._lock:
            if self._waiting or self._exhausted or len(self._threads) >= self._max_threads:
                return
            self._running += 1
            self._waiting += 1
            context = self._context.copy()
            thread = threading.Thread(target=context.run, args=(self._work,), daemon=True)
            self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait until all threads have ended, but not for long."""
        deadline = time.monotonic() + CANCEL_TIMEOUT
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        """Run steps until no items are left. Each thread runs this."""
        try:
            while self._run_next():
                with self._lock:
                    self._waiting += 1
        except BaseException as error:  # noqa: BLE001  ``each`` raises it
            self._fail(error)
        with self._lock:
            self._running -= 1
            if self._exhausted and self._running == 0:
                self.ended.set()

    def _run_next(self) -> bool:
        """Take an item and run its step; return False if there is none."""
        taken = self._take()
        if not taken:
            return False
        try:
            self.start_thread()
            self._step(taken[0])
        finally:
            self._slots.release()
        return True

    def _take(self) -> tuple[T] | tuple[()]:
        """Return the next item, with a slot for its step, or nothing if no more steps start.

        One thread at a time waits for a slot, so that no threads are started only to wait.
        """
        taken: tuple[T] | tuple[()] = ()
        try:
            with self._items_lock:
                self._slots.acquire()
                try:
                    taken = self._next_item()
                finally:
                    if not taken:
                        self._slots.release()
            return taken
        finally:
            with self._lock:
                self._waiting -= 1

    def _next_item(self) -> tuple[T] | tuple[()]:
        if not self._exhausted and not self._cancellation.requested:
            for item in self._items:
                return (item,)
        self._exhausted = True
        return ()

    def _fail(self, error: BaseException) -> None:
        # The cancellation ends waits of other threads, so it must not wait for any lock itself.
        self._cancellation.set()
        with self._lock:
            self._exhausted = True
            if self.error is None or isinstance(self.error, Cancelled):
                self.error = error
            self.ended.set()
