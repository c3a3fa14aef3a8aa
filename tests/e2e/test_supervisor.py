"""`make up` as a person or a service manager sees it: a process, its output and its exit."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from stack.components import ROOT
from stack.process import free_port, wait_until
from stack.sample_catalog import CATALOG

pytestmark = pytest.mark.timeout(400)

Start = Callable[..., "Supervisor"]


def _handle_signals() -> None:
    """Ignore no signal, even if the shell that started the tests in the background does."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Supervisor:
    """A `python -m stack` process whose output is read line by line."""

    def __init__(self, state: Path, port: int) -> None:
        self.port = port
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "stack"],
            cwd=ROOT,
            env={**os.environ, "STATE_DIR": str(state), "PORT": str(port), "WORKERS": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_handle_signals,
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def expect(self, text: str, timeout: float = 150.0) -> str:
        """Return the next line with ``text``. Raise ``queue.Empty`` after ``timeout`` seconds."""
        while (line := self._queue.get(timeout=timeout)) is not None:
            if text in line:
                return line
        pytest.fail(f"exited without printing {text!r}:\n{''.join(self.lines)}")

    def family(self) -> list[psutil.Process]:
        return list(psutil.Process(self.popen.pid).children(recursive=True))

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as output:
            for line in output:
                self.lines.append(line)
                self._queue.put(line)
        self._queue.put(None)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that the catalog is created only once. The tests run one after another."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def start(state: Path) -> Iterator[Start]:
    started: list[Supervisor] = []

    def start(*, port: int | None = None) -> Supervisor:
        started.append(Supervisor(state, port or free_port()))
        return started[-1]

    yield start
    for supervisor in started:
        supervisor.popen.kill()
        supervisor.popen.wait()


def _is_healthy(supervisor: Supervisor) -> bool:
    try:
        return httpx.get(f"{supervisor.url}/health").status_code == 200
    except httpx.TransportError:
        return False


def _all_exited(family: list[psutil.Process]) -> bool:
    return not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_on_its_port_and_stops_cleanly_on_request(start: Start, number: int) -> None:
    supervisor = start()
    supervisor.expect("ready after")
    with urllib.request.urlopen(f"{supervisor.url}/health") as response:
        assert response.status == 200
    family = supervisor.family()
    names = {argument for p in family for argument in p.cmdline()[:2]}
    assert any("weed" in name for name in names)
    supervisor.popen.send_signal(number)
    assert supervisor.popen.wait(60) == 0
    assert "longhaul | stopped" in supervisor.lines[-1]
    assert _all_exited(family)


def test_the_catalog_is_complete_when_health_reports_healthy(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, free_port())
    try:
        wait_until(lambda: _is_healthy(supervisor), "a healthy system", 90)
        files = [
            httpx.post(f"{supervisor.url}/v1/download/check", json={"file_id": sample.file_id})
            for sample in CATALOG
        ]
    finally:
        supervisor.popen.send_signal(signal.SIGTERM)
        supervisor.popen.wait(60)
    assert all(file.json()["available"] for file in files)


def test_no_process_outlives_a_killed_supervisor(start: Start) -> None:
    supervisor = start()
    supervisor.expect("ready after")
    family = supervisor.family()
    # Valkey, SeaweedFS, PostgreSQL, gunicorn and its worker, two workers, the guard.
    assert len(family) >= 8
    supervisor.popen.kill()
    wait_until(lambda: _all_exited(family), "the end of all components", 10)


def test_a_component_that_dies_is_named_and_the_others_are_stopped(start: Start) -> None:
    supervisor = start()
    supervisor.expect("ready after")
    family = supervisor.family()
    victim = next(p for p in family if p.cmdline()[1:3] == ["-m", "worker"])
    victim.kill()
    supervisor.expect("exited unexpectedly with code -9")
    assert supervisor.popen.wait(60) == 1
    assert _all_exited(family)


def test_a_second_system_must_use_another_port_and_state_directory(start: Start) -> None:
    first = start()
    first.expect("api is ready")
    same_state = start()
    same_state.expect("set STATE_DIR")
    same_port = start(port=first.port)
    same_port.expect(f"port {first.port} is in use; set PORT")
    assert (same_state.popen.wait(10), same_port.popen.wait(10)) == (1, 1)
    assert first.popen.poll() is None


def test_a_stop_request_during_the_start_stops_everything(start: Start) -> None:
    supervisor = start()
    supervisor.expect("catalog: ")
    family = supervisor.family()
    # As when its terminal is closed.
    supervisor.popen.send_signal(signal.SIGHUP)
    assert supervisor.popen.wait(60) == 0
    assert _all_exited(family)
