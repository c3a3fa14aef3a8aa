"""`make up` as a person or a service manager meets it: a process, its output and its end."""

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

import psutil
import pytest

from stack.components import ROOT
from stack.process import free_port, wait_until

pytestmark = pytest.mark.timeout(180)

Start = Callable[..., "Supervisor"]


class Supervisor:
    """`python -m stack` in a process of its own, read line by line."""

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
        )
        threading.Thread(target=self._read, daemon=True).start()

    def expect(self, text: str, timeout: float = 60.0) -> str:
        """The next line that has ``text`` in it; ``queue.Empty`` after ``timeout`` seconds."""
        while (line := self._queue.get(timeout=timeout)) is not None:
            if text in line:
                return line
        pytest.fail(f"ended without saying {text!r}:\n{''.join(self.lines)}")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children(recursive=True)

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as output:
            for line in output:
                self.lines.append(line)
                self._queue.put(line)
        self._queue.put(None)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that the catalogue is made once; the tests run one after another."""
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


def _gone(family: list[psutil.Process]) -> bool:
    return not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_on_its_port_and_stops_cleanly_on_request(start: Start, number: int) -> None:
    supervisor = start()
    supervisor.expect("everything is ready")
    with urllib.request.urlopen(f"http://127.0.0.1:{supervisor.port}/health") as answer:
        assert answer.status == 200
    family = supervisor.family()
    names = {argument for p in family for argument in p.cmdline()[:2]}
    assert any("weed" in name for name in names)
    supervisor.popen.send_signal(number)
    assert supervisor.popen.wait(60) == 0
    assert "everything is stopped" in supervisor.lines[-1]
    assert _gone(family)


def test_nothing_outlives_a_supervisor_that_is_killed(start: Start) -> None:
    supervisor = start()
    supervisor.expect("everything is ready")
    family = supervisor.family()
    # Valkey, SeaweedFS, PostgreSQL, gunicorn and its worker, two workers, the guard.
    assert len(family) >= 8
    supervisor.popen.kill()
    wait_until(lambda: _gone(family), "the end of all parts", 10)


def test_a_part_that_dies_is_named_and_takes_the_rest_down(start: Start) -> None:
    supervisor = start()
    supervisor.expect("everything is ready")
    family = supervisor.family()
    victim = next(p for p in family if p.cmdline()[1:3] == ["-m", "worker"])
    victim.kill()
    supervisor.expect("ended by itself with code -9")
    assert supervisor.popen.wait(60) == 1
    assert _gone(family)


def test_a_second_system_is_told_what_it_must_have_of_its_own(start: Start) -> None:
    first = start()
    first.expect("api is ready")
    same_folder = start()
    same_folder.expect("set STATE_DIR")
    same_port = start(port=first.port)
    same_port.expect(f"port {first.port} is taken: set PORT")
    assert (same_folder.popen.wait(10), same_port.popen.wait(10)) == (1, 1)
    assert first.popen.poll() is None


def test_a_request_to_stop_in_the_middle_of_the_start_is_heeded(start: Start) -> None:
    supervisor = start()
    supervisor.expect("catalogue")
    family = supervisor.family()
    # As when its terminal is closed.
    supervisor.popen.send_signal(signal.SIGHUP)
    assert supervisor.popen.wait(60) == 0
    assert _gone(family)
