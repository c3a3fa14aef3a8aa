"""Threads that work for one job while the thread that called them listens to the job's control."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from common.object_storage import Cancellation, Cancelled

#: Seconds between two looks at the control.
LISTEN_EVERY = 0.25
#: Seconds that interrupted threads get to notice it.
WIND_DOWN = 0.7

T = TypeVar("T")


class Listener(Protocol):
    """The part of a job's control that can end its work."""

    def check(self) -> None: ...


class TaskGroup:
    """Runs the steps of one job side by side; ends all when the control or one step says so."""

    def __init__(self, control: Listener) -> None:
        self._control = control
        self.cancellation = Cancellation()

    def each(self, step: Callable[[T], None], items: Iterable[T], *, width: int) -> None:
        """Call ``step`` for every item, at most ``width`` at a time, begun in the items' order.

        The items are taken one at a time, so a generator may do work of its own. The first error
        of a step, of the items or of the control ends the others at once and is raised.
        """
        shift = _Shift(iter(items), step, self.cancellation)
        # Each goes on with the caller's log and trace ids.
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(shift.work,), daemon=True)
            for _ in range(max(1, width))
        ]
        try:
            for thread in threads:
                thread.start()
                if shift.over:
                    break
            while not shift.idle.wait(LISTEN_EVERY):
                self._control.check()
        except BaseException:
            self.cancellation.set()
            shift.join(threads)
            raise
        shift.join(threads)
        if shift.error is not None:
            raise shift.error

    def call(self, step: Callable[[], T]) -> T:
        """One step on a thread of its own, so that the control is listened to meanwhile."""
        answers: list[T] = []
        self.each(lambda _: answers.append(step()), (None,), width=1)
        return answers[0]


class _Shift(Generic[T]):
    """One call of ``each``: who takes the next item, and when nothing is left."""

    def __init__(
        self, items: Iterator[T], step: Callable[[T], None], cancellation: Cancellation
    ) -> None:
        self._items = items
        self._step = step
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._busy = 0
        #: No further step will begin.
        self.over = False
        self.error: BaseException | None = None
        #: Set once no step runs and none will begin.
        self.idle = threading.Event()

    def work(self) -> None:
        while True:
            with self._lock:
                taken = self._take()
                if not taken:
                    self._settle()
                    return
            try:
                self._step(taken[0])
            except BaseException as error:  # noqa: BLE001  raised again where the shift ends
                with self._lock:
                    self._fail(error)
            # Waiting for the next item must not keep what belongs to this one in memory.
            taken = ()
            with self._lock:
                self._busy -= 1
                self._settle()

    def join(self, threads: list[threading.Thread]) -> None:
        deadline = time.monotonic() + WIND_DOWN
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _take(self) -> tuple[T] | tuple[()]:
        if self.over or self._cancellation.requested:
            self.over = True
            return ()
        try:
            item = next(self._items)
        except StopIteration:
            self.over = True
            return ()
        except BaseException as error:  # noqa: BLE001  raised again where the shift ends
            self._fail(error)
            return ()
        self._busy += 1
        return (item,)

    def _fail(self, error: BaseException) -> None:
        self.over = True
        if self.error is None or isinstance(self.error, Cancelled):
            self.error = error
        self._cancellation.set()

    def _settle(self) -> None:
        if self.over and self._busy == 0:
            self.idle.set()
