"""A child process that never outlives its supervisor, with its output prefixed by its name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from stack.log_format import readable
from stack.process_guard import guard

#: Below the range that the kernel gives to outgoing connections (from 32768 on), so that none of
#: those takes a port before its server does, or while its server is restarted.
_PORTS = range(20_000, 32_768)
#: Counts the ports that were given out, by any of this user's processes.
_GIVEN_OUT = Path(tempfile.gettempdir()) / f"longhaul-ports-{os.getuid()}"


def free_port() -> int:
    """A TCP port on the loopback interface that nobody uses, and that was not given out lately."""
    for _ in _PORTS:
        port = _PORTS[_turn() % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(errno.EADDRINUSE, "no free port")


def _turn() -> int:
    """The next number: no two processes get the same, so a server that restarts keeps its port."""
    with _GIVEN_OUT.open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        number = int(counter.read() or 0)
        counter.truncate(0)
        counter.write(str(number + 1))
    return number


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
        user: pwd.struct_passwd | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """``output``: a stream that gets prefixed lines, a log file's path, or None for silence.

        ``user``: whom root becomes for this program; ``stop_signal`` asks it to end in order.
        """
        self.name = name
        self._stop_signal = stop_signal
        self._asked_to_end = False
        self._over = False
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
            preexec_fn=guard().enter,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
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
        if not self._over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def terminate(self) -> None:
        """The stop signal to the program itself, which is left to stop its own children.

        Sent once, however often it is asked for: Celery takes a second one for impatience.
        """
        if self.alive and not self._asked_to_end:
            self._asked_to_end = True
            self.popen.send_signal(self._stop_signal)

    def stop(self, grace: float = 30.0) -> int:
        """The stop signal, then SIGKILL after ``grace`` seconds; returns the exit code."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(grace)
        return self.kill()

    def kill(self) -> int:
        """SIGKILL for the whole group, at once; returns the exit code."""
        self.signal(signal.SIGKILL)
        code = self.popen.wait()
        if not self._over:
            guard().leave(self.pid)
            # From here on the group's number may be given to others.
            self._over = True
            if self._pump is not None:
                self._pump.join(1)
        return code

    def _prefix(self, output: IO[str]) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as lines:
            for line in lines:
                if text := line.decode(errors="replace").rstrip():
                    output.write(f"{self.name:>9} | {readable(text)}\n")
                    output.flush()
