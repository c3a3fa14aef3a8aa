"""Kills the process groups of a supervisor when the supervisor exits, even after ``kill -9``.

The supervisor holds the writing end of the guard's standard input. Every child writes ``+<pgid>``
to it between fork and exec, so that no child is missed; ``-<pgid>`` removes a group that stopped.
End of input means that the supervisor is dead. The guard then kills every group on its list. A
parent-death signal (``PR_SET_PDEATHSIG``) would not reach the children's own children.
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


class ProcessGuard:
    """A guard process and the supervisor's pipe to it."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        self._process = subprocess.Popen(
            # Isolated and without site-packages, it starts within a few milliseconds.
            [sys.executable, "-I", "-S", __file__],
            stdin=reading,
            # In its own session, so that Ctrl-C in the terminal does not reach the guard.
            start_new_session=True,
        )
        os.close(reading)
        atexit.register(self._close)

    def enter(self) -> None:
        """Add the calling process's group to the list. Runs in the child before exec."""
        os.write(self._writing, b"+%d\n" % os.getpid())

    def leave(self, group: int) -> None:
        """Remove a group that exited: the kernel may reuse its number."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writing, b"-%d\n" % group)

    def _close(self) -> None:
        os.close(self._writing)
        self._process.wait(5)


@cache
def process_guard() -> ProcessGuard:
    """Return the guard of this process, which starts at the first call."""
    return ProcessGuard()


def watch(lines: Iterable[str]) -> None:
    """Keep the list until the input ends, then kill every group on it. Runs in the guard."""
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
