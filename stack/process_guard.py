"""Ends every process group of this supervisor when the supervisor is gone, however it went.

The supervisor holds the writing end of the guard's standard input. Every child writes ``+<pgid>``
there between fork and exec, so that no child can be missed; ``-<pgid>`` takes a stopped one off.
End of input means that the supervisor is dead, also by ``kill -9``: what is still on the list then
is killed with all its own children, which a death signal to the child alone would leave behind.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import cache


class Guard:
    """The supervisor's side: the pipe to a guard process that was started for it."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        self._process = subprocess.Popen(
            # Isolated and without site-packages: it is up in a few milliseconds.
            [sys.executable, "-I", "-S", __file__],
            stdin=reading,
            # A session of its own: the terminal's Ctrl-C is not meant for the guard.
            start_new_session=True,
        )
        os.close(reading)
        atexit.register(self._close)

    def enter(self) -> None:
        """Put the calling process's group on the list; runs in the child before exec."""
        os.write(self._writing, b"+%d\n" % os.getpid())

    def leave(self, group: int) -> None:
        """Take a group that was ended off the list: its number may be given to others."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writing, b"-%d\n" % group)

    def _close(self) -> None:
        os.close(self._writing)
        self._process.wait(5)


@cache
def guard() -> Guard:
    """The one guard of this process, started at the first call."""
    return Guard()


def watch(lines: Iterable[str]) -> None:
    """The guard's side: keep the list until the input ends, then kill what is on it."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    watch(sys.stdin)
