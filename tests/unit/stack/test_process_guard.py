"""No child or grandchild process outlives its supervisor, however that ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from io import StringIO

import psutil
import pytest

from stack.process import Process, wait_until

SUPERVISOR = textwrap.dedent(
    """
    import signal, sys, threading, time
    from stack.process import Process

    # A shell without job control makes its background commands ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    family = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    thread = threading.Thread(target=lambda: Process("family", [sys.executable, "-c", family]))
    thread.start()
    thread.join()
    print("started", flush=True)
    time.sleep(60)
    """
)


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process
        process.kill()


def _family(supervisor: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return guard, child and grandchild when all three run."""
    parent = psutil.Process(supervisor.pid)
    wait_until(lambda: len(parent.children(recursive=True)) == 3, "the family", 10)
    return list(parent.children(recursive=True))


def _running(family: list[psutil.Process]) -> list[psutil.Process]:
    # A zombie is dead, but init may take a while to reap it.
    return [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_grandchildren_die_with_a_supervisor_that_cannot_clean_up(
    supervisor: subprocess.Popen[str], number: signal.Signals
) -> None:
    family = _family(supervisor)
    supervisor.send_signal(number)
    supervisor.wait(5)
    wait_until(lambda: not _running(family), "the end of the family", 5)


def test_a_child_outlives_the_thread_that_started_it(supervisor: subprocess.Popen[str]) -> None:
    family = _family(supervisor)
    time.sleep(0.5)
    assert len(_running(family)) == 3


def test_stop_kills_a_program_that_ignores_sigterm() -> None:
    output = StringIO()
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
    process = Process(
        "stubborn", [sys.executable, "-c", f"{stubborn}; time.sleep(60)"], output=output
    )
    wait_until(lambda: output.getvalue() == " stubborn | up\n", "the program", 10)
    assert process.stop(grace=0.3) == -signal.SIGKILL
    assert not process.alive
