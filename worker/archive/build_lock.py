"""Waiting while another job builds the very archive that this one wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from common.task_group import Listener

#: Seconds between two tries.
TRY_EVERY = 0.25

T = TypeVar("T")


class BuildLock(Protocol):
    """The right to build one archive, held by at most one job unless that job's worker is gone."""

    def acquire(self) -> bool: ...

    def renew(self) -> None: ...

    def release(self) -> None: ...


class NoLock:
    """The turn of somebody who shares the storage with nobody."""

    def acquire(self) -> bool:
        return True

    def renew(self) -> None:
        return

    def release(self) -> None:
        return


class KeepLock:
    """A control that renews the turn whenever it is listened to."""

    def __init__(self, control: Listener, turn: BuildLock) -> None:
        self._control = control
        self._turn = turn

    def check(self) -> None:
        self._control.check()
        self._turn.renew()


@contextmanager
def waiting_for(
    turn: BuildLock, control: Listener, look: Callable[[], T | None]
) -> Iterator[T | None]:
    """Gives what ``look`` finds, or None once it is this job's turn to build, which it then holds.

    ``look`` is called at once, about every second of the wait, and when the turn came.
    """
    found, tries = look(), 0
    mine = False
    while found is None and not mine:
        mine = turn.acquire()
        if mine:
            found = look() if tries else None
            break
        control.check()
        time.sleep(TRY_EVERY)
        tries += 1
        if tries % 4 == 0:
            found = look()
    try:
        yield found
    finally:
        if mine:
            turn.release()
