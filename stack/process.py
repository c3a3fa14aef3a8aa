"""A child process that never outlives its parent, with its output prefixed by its name."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(ready: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    """Poll ``ready`` until it is true; ``TimeoutError`` naming ``what`` after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready within {timeout:.0f} s")
        time.sleep(0.05)


def _die_with_parent() -> None:
    # The kernel kills the child even when the parent is killed with -9 and cannot clean up.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One running program of the stack, in a process group of its own."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: IO[str] | Path | None = None,
    ) -> None:
        """``output``: a stream that gets prefixed lines, a log file's path, or None for silence."""
        self.name = name
        self._pump: threading.Thread | None = None
        target: int | IO[bytes] = subprocess.DEVNULL
        log: IO[bytes] | None = None
        if isinstance(output, Path):
            target = log = output.open("ab")
        elif output is not None:
            target = subprocess.PIPE
        self.popen = subprocess.Popen(
            list(command),
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        if log is not None:
            log.close()
        elif output is not None and not isinstance(output, Path):
            self._pump = threading.Thread(target=self._prefix, args=(output,), daemon=True)
            self._pump.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group; a group that is gone already is no error."""
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            return

    def stop(self, grace: float = 30.0) -> int:
        """SIGTERM, then SIGKILL after ``grace`` seconds; returns the exit code."""
        if self.alive:
            self.popen.terminate()
        try:
            code = self.popen.wait(grace)
        except subprocess.TimeoutExpired:
            code = None
        self.signal(signal.SIGKILL)
        if code is None:
            code = self.popen.wait()
        if self._pump is not None:
            self._pump.join(1)
        return code

    def kill(self) -> None:
        """SIGKILL for the whole group, at once."""
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def _prefix(self, output: IO[str]) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            output.write(f"{self.name:>9} | {line.decode(errors='replace').rstrip()}\n")
            output.flush()
