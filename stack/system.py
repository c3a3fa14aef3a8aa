"""The whole system on one machine: starts and stops services, API and workers together."""

from __future__ import annotations

import fcntl
import os
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from api.auth import operator_page
from stack import components
from stack.components import Component, Output
from stack.postgres import database_url
from stack.process import Process, free_port
from stack.sample_catalog import CATALOG, SampleFile, fill, s3_client
from stack.services import ACCESS_KEY, SECRET_KEY

#: Seconds that a component may take to become ready.
START_TIMEOUT = 40.0
#: Seconds that a component may take to exit after SIGTERM.
STOP_GRACE = 35.0

_SERVICES = ("valkey", "s3", "postgres")
_LOOPBACK = "127.0.0.1,localhost"


class StateInUse(RuntimeError):
    """Another running system uses this state directory."""


def bypass_proxies() -> None:
    """Let this process and its children connect to the components without HTTP_PROXY."""
    # Programs that know both names prefer the lower-case one.
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    # An asterisk, for all hosts, counts only if it is alone.
    if hosts != "*" and not hosts.endswith(_LOOPBACK):
        hosts = f"{hosts},{_LOOPBACK}" if hosts else _LOOPBACK
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = hosts


class System:
    """One system with the components ``valkey``, ``s3``, ``postgres``, ``api``, ``worker-1`` …

    As a context manager it starts everything and waits until it is ready. Systems do not affect
    each other: every port is a free one, and all data is below ``state``.
    """

    def __init__(
        self,
        state: Path,
        *,
        port: int | None = None,
        workers: int = 1,
        worker_nice: int = 0,
        files: Sequence[SampleFile] = CATALOG,
        env: Mapping[str, str] | None = None,
        valkey_env: Mapping[str, str] | None = None,
        output: IO[str] | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Choose ports and secrets, and define the components. Nothing is started yet.

        ``worker_nice`` lowers the priority of the workers and of the object storage, so that the
        API responds quickly while archives are built on the same cores.
        ``files`` is the sample catalog to put into object storage.
        ``env`` holds settings for API and workers, in addition to those that connect them;
        ``valkey_env`` environment variables of Valkey.
        ``output`` receives the prefixed logs of API and workers. Without it they go to files, like
        the logs of the services. ``report`` is called with a line of text for each step.
        """
        self.state = state.resolve()
        self.files = files
        self._worker_nice = worker_nice
        #: Components that run or should run. One that died on its own stays here.
        self.processes: dict[str, Process] = {}
        self._starting: set[str] = set()
        self._output = output
        self._report = report
        self._lock_file = ExitStack()
        valkey_port, s3_port, postgres_port = free_port(), free_port(), free_port()
        self.redis_url = f"redis://127.0.0.1:{valkey_port}/0"
        self.s3_endpoint = f"http://127.0.0.1:{s3_port}"
        #: Environment variables of API and workers, in addition to the inherited ones.
        self.env = {
            "PORT": str(port or free_port()),
            "REDIS_URL": self.redis_url,
            "S3_ENDPOINT_URL": self.s3_endpoint,
            "S3_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "DATABASE_URL": database_url(postgres_port),
            "TICKET_SECRET": secrets.token_urlsafe(32),
            "ADMIN_TOKEN": secrets.token_urlsafe(32),
            "WEBHOOK_SECRET": f"whsec_{b64encode(secrets.token_bytes(24)).decode()}",
            **(env or {}),
        }
        self._components: dict[str, Component] = {}
        self._add(components.valkey(self.state, valkey_port, self.log("valkey"), valkey_env))
        self._add(components.s3(self.state, s3_port, self.log("s3")))
        self._add(components.postgres(self.state, postgres_port, self.log("postgres")))
        self._add(components.api(self.env, self._output_of("api")))
        for _ in range(workers):
            self._add_worker({})

    @property
    def base_url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.env['PORT']}"

    @property
    def operator(self) -> dict[str, str]:
        """The headers of an operator."""
        return {"Authorization": f"Bearer {self.env['ADMIN_TOKEN']}"}

    @property
    def operator_page(self) -> str:
        """The URL of the operator page, with the token."""
        return operator_page.link(self.base_url, self.env["ADMIN_TOKEN"])

    @property
    def workers(self) -> list[str]:
        """The names of the workers that run or should run."""
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
        """Start everything and wait until it is ready. If that fails, stop what was started.

        Raise ``StateInUse``, ``ComponentDied``, or ``TimeoutError`` with the component's name.
        """
        with ExitStack() as undo:
            undo.callback(self.stop)
            bypass_proxies()
            self._lock()
            self._launch(*_SERVICES)
            # Before the API and the workers start: an API that is healthy has its catalog.
            created = fill(s3_client(self.s3_endpoint), self.files)
            self._report(f"catalog: {len(self.files)} files, {created} of them new")
            programs = [name for name in self._components if name not in _SERVICES]
            self._launch(*programs)
            for name in (*programs, "postgres"):
                self._wait_until_ready(name)
            undo.pop_all()

    def stop(self) -> None:
        """Stop API and workers first, all at the same time, and then the services they use."""
        programs = [name for name in self.processes if name not in _SERVICES]
        for name in programs:
            # While they start, gunicorn and Celery may miss SIGTERM. They have no work to lose yet.
            if name in self._starting:
                self.processes[name].kill()
        self._stop_all(programs)
        self._stop_all(list(self.processes))
        self._lock_file.close()

    def check(self) -> None:
        """Raise ``ComponentDied`` if a component exited unexpectedly."""
        for process in self.processes.values():
            process.require_alive()

    def start_component(self, name: str) -> None:
        """Start a component that was stopped, on the same port and with the same state."""
        self._launch(name)
        self._wait_until_ready(name)

    def stop_component(self, name: str) -> int:
        """Stop a component with SIGTERM, as a deployment does. Return its exit code."""
        return self.processes.pop(name).stop(STOP_GRACE)

    def kill_component(self, name: str) -> None:
        """Kill a component and its children with SIGKILL, as a crash would."""
        self.processes.pop(name).kill()

    def use_release(self, name: str, release: Path) -> None:
        """Run the API or a worker from another directory of source code, from its next start."""
        output = self._output_of(name)
        if name == "api":
            self._add(components.api(self.env, output, release))
        else:
            self._add(components.worker(name, self.env, output, release))

    def add_worker(self, *, release: Path | None = None, **env: str) -> str:
        """Start another worker with ``env`` added to its environment. Return its name.

        ``release``: a directory with other source code than this one's.
        """
        name = self._add_worker(env)
        if release:
            self.use_release(name, release)
        self.start_component(name)
        return name

    def log(self, name: str) -> Path:
        """Return the path of a component's log file."""
        return self.state / "logs" / f"{name}.log"

    def _stop_all(self, names: Sequence[str]) -> None:
        for name in names:
            self.processes[name].terminate()
        for name in names:
            self.stop_component(name)

    def _add(self, component: Component) -> str:
        self._components[component.name] = component
        return component.name

    def _add_worker(self, env: Mapping[str, str]) -> str:
        number = sum(name.startswith("worker-") for name in self._components) + 1
        name = f"worker-{number}"
        return self._add(components.worker(name, {**self.env, **env}, self._output_of(name)))

    def _output_of(self, name: str) -> Output:
        return self._output or self.log(name)

    def _lock(self) -> None:
        (self.state / "logs").mkdir(parents=True, exist_ok=True)
        lock = self._lock_file.enter_context((self.state / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateInUse(
                f"{self.state} is in use by another system; set STATE_DIR to another directory"
            ) from None

    def _launch(self, *names: str) -> None:
        for name in names:
            self._starting.add(name)
            self.processes[name] = self._components[name].start()
            if name == "s3" or name.startswith("worker-"):
                self.processes[name].lower_priority(self._worker_nice)

    def _wait_until_ready(self, name: str) -> None:
        process, component = self.processes[name], self._components[name]
        process.wait_until_ready(lambda: component.ready(process), START_TIMEOUT)
        self._starting.discard(name)
        self._report(f"{name} is ready")
