"""Waits while another job builds the same archive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from common.errors import DeadlineExceeded, ResumableDeadline
from common.task_group import SupportsCheck
from worker.archive.composing.compose import is_resumable

#: Seconds between two attempts to acquire the lock.
ACQUIRE_INTERVAL = 0.25
#: Attempts between two checks for the finished archive.
ATTEMPTS_PER_CHECK = 4

T = TypeVar("T")


class BuildLock(Protocol):
    """Lets one job at a time build an archive; ``RedisBuildLock`` is the implementation."""

    def acquire(self) -> bool:
        """Return whether this job has the lock now; do not wait."""

    def renew(self) -> None:
        """Extend the lock's expiry; called often."""

    def release(self) -> None:
        """Release the lock."""


class NoBuildLock:
    """The lock of a build that shares the storage with no other."""

    def acquire(self) -> bool:
        return True

    def renew(self) -> None:
        return

    def release(self) -> None:
        return


class RenewingControl:
    """A control that renews the build lock at every check."""

    def __init__(self, control: SupportsCheck, lock: BuildLock) -> None:
        self._control = control
        self._lock = lock

    def check(self) -> None:
        """Raise what the job's control raises, and renew the lock."""
        self._control.check()
        self._lock.renew()


@contextmanager
def acquire_or_find(
    lock: BuildLock,
    control: SupportsCheck,
    find: Callable[[], T | None],
    *,
    may_continue: Callable[[], bool],
) -> Iterator[T | None]:
    """Yield what ``find`` returns, or None when this job has the lock and has to build.

    ``find`` is called first, about every second while another job has the lock, and once more
    after a wait for the lock. A job that still waits at its deadline has not failed: raise
    ResumableDeadline if ``may_continue`` returns True.

    A build that another attempt may resume keeps the lock until it expires, so that no other job
    begins the archive again meanwhile.
    """
    found, attempts = find(), 0
    acquired = False
    try:
        while found is None and not (acquired := lock.acquire()):
            control.check()
            time.sleep(ACQUIRE_INTERVAL)
            attempts += 1
            if attempts % ATTEMPTS_PER_CHECK == 0:
                found = find()
        if acquired and attempts:
            found = find()
    except DeadlineExceeded as error:
        if may_continue():
            raise ResumableDeadline(
                "The attempt waited until its deadline while another job built the same archive."
            ) from error
        raise
    keeps_lock = False
    try:
        yield found
    except BaseException as error:
        keeps_lock = found is None and is_resumable(error)
        raise
    finally:
        if acquired and not keeps_lock:
            lock.release()
