"""The whole system on one machine: services, API and workers, started and stopped as one."""

from __future__ import annotations

import fcntl
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stack import components
from stack.components import Component, Output
from stack.postgres import database_url
from stack.process import Process, free_port, wait_until
from stack.sample_catalog import CATALOG, Sample, fill, s3_client
from stack.services import ACCESS_KEY, SECRET_KEY

#: Seconds that a part may take to get ready, and to end after SIGTERM.
START_TIMEOUT = 40.0
STOP_GRACE = 35.0
#: SeaweedFS closes its index within two seconds of SIGTERM, then waits up to 30 s for connections
#: that nobody uses; what it holds is on the disk by then.
S3_STOP_GRACE = 4.0

_SERVICES = ("valkey", "s3", "postgres")


class StateInUse(RuntimeError):
    """Another system keeps its state in this folder."""


class ComponentDied(RuntimeError):
    """A part of the system ended although nobody asked it to."""


class System:
    """One running system. Its parts are ``valkey``, ``s3``, ``postgres``, ``api``, ``worker-1`` …

    A context manager that starts everything and waits until it works. Two systems never meet:
    every port is a free one, and all that is kept lies below ``state``.
    """

    def __init__(
        self,
        state: Path,
        *,
        port: int | None = None,
        workers: int = 1,
        files: Sequence[Sample] = CATALOG,
        env: Mapping[str, str] | None = None,
        output: IO[str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``env``: settings for API and workers, on top of those that connect them.

        ``output`` gets the prefixed logs of API and workers; without it they go to files, as
        those of the services always do. ``tell`` is called with what happens, in words.
        """
        self.state = state.resolve()
        self.files = files
        #: What runs now, or should: a process that died by itself stays here.
        self.processes: dict[str, Process] = {}
        self._output = output
        self._tell = tell
        self._held = ExitStack()
        valkey_port, s3_port, postgres_port = free_port(), free_port(), free_port()
        self.redis_url = f"redis://127.0.0.1:{valkey_port}/0"
        self.s3_endpoint = f"http://127.0.0.1:{s3_port}"
        #: The environment of API and workers, beside what this process inherits.
        self.env = {
            "PORT": str(port or free_port()),
            "REDIS_URL": self.redis_url,
            "S3_ENDPOINT_URL": self.s3_endpoint,
            "S3_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "DATABASE_URL": database_url(postgres_port),
            "TICKET_SECRET": secrets.token_urlsafe(32),
            "WEBHOOK_SECRET": f"whsec_{b64encode(secrets.token_bytes(24)).decode()}",
            **(env or {}),
        }
        self._parts: dict[str, Component] = {}
        self._add(components.valkey(self.state, valkey_port, self.log("valkey")))
        self._add(components.s3(self.state, s3_port, self.log("s3")))
        self._add(components.postgres(self.state, postgres_port, self.log("postgres")))
        self._add(components.api(self.env, self._output_of("api")))
        for _ in range(workers):
            self._add_worker({})

    @property
    def base_url(self) -> str:
        """Where the API listens."""
        return f"http://127.0.0.1:{self.env['PORT']}"

    @property
    def workers(self) -> list[str]:
        """The names of the workers that run, or should."""
        return [name for name in self.processes if name.startswith("worker-")]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it works; nothing is left running when that fails.

        Raises ``StateInUse``, ``PartDied``, or ``TimeoutError`` naming the part.
        """
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._lock()
            self._launch(*_SERVICES)
            programs = [name for name in self._parts if name not in _SERVICES]
            self._launch(*programs)
            # While the programs import what they need.
            made = fill(s3_client(self.s3_endpoint), self.files)
            self._tell(f"catalogue: {len(self.files)} files, {made} of them made now")
            for name in (*programs, "postgres"):
                self._await(name)
            undo.pop_all()

    def stop(self) -> None:
        """End everything: first those that use the services, all at once, then the services."""
        self._stop_all([name for name in self.processes if name not in _SERVICES])
        self._stop_all(list(self.processes))
        self._held.close()

    def check(self) -> None:
        """Raise ``PartDied`` when a part ended that nobody ended."""
        for name, process in self.processes.items():
            self._require_alive(name, process)

    def start_component(self, name: str) -> None:
        """Start a part that was ended, on the same port and with the same state."""
        self._launch(name)
        self._await(name)

    def stop_component(self, name: str) -> int:
        """End a part as a deploy does, by SIGTERM; returns its exit code."""
        grace = S3_STOP_GRACE if name == "s3" else STOP_GRACE
        return self.processes.pop(name).stop(grace)

    def kill_component(self, name: str) -> None:
        """End a part as an accident does, by SIGKILL to it and its children."""
        self.processes.pop(name).kill()

    def add_worker(self, **env: str) -> str:
        """Start one more worker, with ``env`` on top of the system's; returns its name."""
        name = self._add_worker(env)
        self.start_component(name)
        return name

    def log(self, name: str) -> Path:
        """The log file of a part."""
        return self.state / "logs" / f"{name}.log"

    def _stop_all(self, names: Sequence[str]) -> None:
        for name in names:
            self.processes[name].terminate()
        for name in names:
            self.stop_component(name)

    def _add(self, part: Component) -> str:
        self._parts[part.name] = part
        return part.name

    def _add_worker(self, env: Mapping[str, str]) -> str:
        number = sum(name.startswith("worker-") for name in self._parts) + 1
        name = f"worker-{number}"
        return self._add(components.worker(name, {**self.env, **env}, self._output_of(name)))

    def _output_of(self, name: str) -> Output:
        return self._output or self.log(name)

    def _lock(self) -> None:
        (self.state / "logs").mkdir(parents=True, exist_ok=True)
        lock = self._held.enter_context((self.state / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateInUse(f"another system runs in {self.state}: set STATE_DIR") from None

    def _launch(self, *names: str) -> None:
        for name in names:
            self.processes[name] = self._parts[name].start()

    def _await(self, name: str) -> None:
        process = self.processes[name]

        def ready() -> bool:
            self._require_alive(name, process)
            return self._parts[name].ready(process)

        wait_until(ready, name, START_TIMEOUT)
        self._tell(f"{name} is ready")

    def _require_alive(self, name: str, process: Process) -> None:
        if not process.alive:
            where = "" if self._output and name not in _SERVICES else f", see {self.log(name)}"
            raise ComponentDied(
                f"{name} ended by itself with code {process.popen.returncode}{where}"
            )
