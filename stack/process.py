"""Child processes that never outlive this process, with their output prefixed by their name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from stack.log_format import readable
from stack.process_guard import process_guard

#: Below the kernel's range for outgoing connections (from 32768), so that none of those takes a
#: port before its server does or while its server restarts.
_PORTS = range(20_000, 32_768)
#: A file with the number of ports assigned so far by all processes of this user. Not in
#: ``tempfile.gettempdir()``, as tests give each process a folder of its own.
_COUNTER = Path("/tmp") / f"longhaul-ports-{os.getuid()}"  # noqa: S108


def free_port() -> int:
    """Return a TCP port on the loopback interface that is free and was not assigned recently."""
    for _ in _PORTS:
        port = _PORTS[_next_number() % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(errno.EADDRINUSE, "no free port")


def _next_number() -> int:
    """Return a number that no other process gets, so that a restarting server keeps its port."""
    with _COUNTER.open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        number = int(counter.read() or 0)
        counter.truncate(0)
        counter.write(str(number + 1))
    return number


def accepts_connections(port: int) -> bool:
    """Return whether a server listens on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(ready: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    """Poll ``ready`` until it returns true. Raise ``TimeoutError`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready within {timeout:.0f} s")
        time.sleep(0.05)


class ComponentDied(RuntimeError):
    """A component exited unexpectedly."""


class Process:
    """A running program in its own process group."""

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
        """Start the program.

        ``output`` is a stream for prefixed lines, the path of a log file, or None to discard it.
        ``user`` is the account to switch to when running as root. ``stop_signal`` is the signal
        on which the program shuts down gracefully.
        """
        self.name = name
        self._log = output if isinstance(output, Path) else None
        self._stop_signal = stop_signal
        self._stop_requested = False
        self._reaped = False
        self._output_thread: threading.Thread | None = None
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
            preexec_fn=process_guard().enter,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        if log is not None:
            log.close()
        elif output is not None and not isinstance(output, Path):
            self._output_thread = threading.Thread(target=self._prefix, args=(output,), daemon=True)
            self._output_thread.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def require_alive(self) -> None:
        """Raise ``ComponentDied`` if the program exited."""
        if not self.alive:
            code = self.popen.returncode
            raise ComponentDied(f"{self.name} exited unexpectedly with code {code}{self._see_log}")

    def wait_until_ready(self, ready: Callable[[], bool], timeout: float = 30.0) -> None:
        """Poll ``ready`` until it returns true. If that fails, kill the program.

        Raise ``ComponentDied`` as soon as it exits, and ``TimeoutError`` after ``timeout`` seconds.
        """

        def is_ready() -> bool:
            self.require_alive()
            return ready()

        try:
            wait_until(is_ready, self.name, timeout)
        except ComponentDied:
            # Its children may still run.
            self.kill()
            raise
        except TimeoutError as error:
            self.kill()
            raise TimeoutError(f"{error}{self._see_log}") from None

    @property
    def _see_log(self) -> str:
        return f", see {self._log}" if self._log else ""

    def lower_priority(self, nice: int) -> None:
        """Give the process group less CPU time than others get: see nice(1).

        Linux can group each session's processes (sched(7), "The autogroup feature"). Niceness then
        counts only within the group, so the group gets it as well.
        """
        with contextlib.suppress(OSError):
            # Raising the priority again would need privileges.
            nice = max(nice, os.getpriority(os.PRIO_PGRP, self.pid))
            os.setpriority(os.PRIO_PGRP, self.pid, nice)
            Path(f"/proc/{self.pid}/autogroup").write_text(str(nice))

    def signal(self, number: int) -> None:
        """Send a signal to the process group. Do nothing if it has exited."""
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Send the stop signal to the program, which stops its own children.

        Send it only once: at the second one Celery stops without waiting for its jobs.
        """
        if self.alive and not self._stop_requested:
            self._stop_requested = True
            self.popen.send_signal(self._stop_signal)

    def stop(self, grace: float = 30.0) -> int:
        """Send the stop signal, and SIGKILL after ``grace`` seconds. Return the exit code."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(grace)
        return self.kill()

    def kill(self) -> int:
        """Send SIGKILL to the process group. Return the exit code."""
        self.signal(signal.SIGKILL)
        code = self.popen.wait()
        if not self._reaped:
            process_guard().leave(self.pid)
            # From now on the kernel may reuse the group's number.
            self._reaped = True
            if self._output_thread is not None:
                self._output_thread.join(1)
        return code

    def _prefix(self, output: IO[str]) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as lines:
            for line in lines:
                if text := line.decode(errors="replace").rstrip():
                    output.write(f"{self.name:>9} | {readable(text)}\n")
                    output.flush()
