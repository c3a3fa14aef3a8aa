"""How the stack starts and stops, without its components."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import services
from stack.__main__ import StopRequested, stop_on_signals
from stack.process import ComponentDied, Process
from stack.system import bypass_proxies


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore the handlers of this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    handlers[signal.SIGTERM] = signal.getsignal(signal.SIGTERM)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    requested = stop_on_signals()
    signal.raise_signal(signal.SIGHUP)
    assert not requested.is_set()
    with pytest.raises(StopRequested):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ("", "", "127.0.0.1,localhost"),
        ("", "example.com", "example.com,127.0.0.1,localhost"),
        ("example.org", "example.com", "example.org,127.0.0.1,localhost"),
        ("*", "", "*"),
    ],
)
def test_nothing_on_this_machine_is_fetched_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, lower: str, upper: str, expected: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    for _ in range(2):
        bypass_proxies()
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == expected
    assert urllib.request.proxy_bypass("127.0.0.1:8080")
    assert urllib.request.proxy_bypass("localhost")


def test_a_program_that_exits_is_not_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "broken.log"
    process = Process("broken", [sys.executable, "-c", "raise SystemExit(3)"], output=log)
    with pytest.raises(ComponentDied, match=rf"broken exited .* code 3, see {log}"):
        process.wait_until_ready(lambda: False)


def test_a_program_that_does_not_become_ready_is_killed(tmp_path: Path) -> None:
    process = Process("slow", ["sleep", "60"], output=tmp_path / "slow.log")
    with pytest.raises(TimeoutError, match=r"slow was not ready within 0 s, see .*slow\.log"):
        process.wait_until_ready(lambda: False, 0.1)
    assert not process.alive


def test_valkey_that_exits_is_not_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    with pytest.raises(ComponentDied, match=str(log)):
        services.start_valkey(tmp_path / "valkey", output=log, options=["--no-such-option", "1"])


def test_an_s3_server_that_does_not_speak_http_yet_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=respond)
        thread.start()
        assert services._responds(server.getsockname()[1]) is False
        thread.join()
