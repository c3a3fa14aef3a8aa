"""A listening socket that closes while clients connect."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gevent.pool import Pool

from api.server.listeners import accept_connection_requests, stop_listening


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    host = "127.0.0.1" if request.param == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=request.param) as listener:
        yield listener


@pytest.fixture
def client(listener: socket.socket) -> Iterator[socket.socket]:
    with socket.socket(listener.family) as client:
        yield client


def server_of(listener: socket.socket, client: socket.socket) -> Any:
    """Return a server to which ``client`` connects just after the last accept."""
    address = listener.getsockname()

    def do_read() -> None:
        client.setblocking(False)
        client.connect_ex(address)

    return SimpleNamespace(
        socket=listener, stop_accepting=lambda: None, do_read=do_read, close=lambda: None,
        _handle=lambda *_: None,
    )  # fmt: skip


def test_last_connection_is_refused_instead_of_reset(
    listener: socket.socket, client: socket.socket
) -> None:
    """A refused request can be repeated; after a reset, the client does not know what happened."""
    stop_listening(server_of(listener, client), Pool(10), parent=os.getppid())
    assert select.select([], [client], [], 10)[1]
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_socket_of_other_processes_stays_open(
    listener: socket.socket, client: socket.socket
) -> None:
    """One of several processes ends, or all are replaced (SIGHUP): the others serve the socket."""
    with listener.dup() as others:
        stop_listening(server_of(listener, client), Pool(10), parent=os.getpid())
        with others.accept()[0] as accepted:
            client.settimeout(5)
            client.sendall(b"GET")
            assert accepted.recv(10) == b"GET"
        with socket.create_connection(others.getsockname()[:2], timeout=5):
            pass


def test_server_that_inherits_the_socket_accepts_again(
    listener: socket.socket, client: socket.socket
) -> None:
    """gunicorn passes the socket on to its successor (SIGUSR2), and so does systemd."""
    with listener.dup() as inherited:
        address = inherited.getsockname()[:2]
        stop_listening(server_of(listener, client), Pool(10), parent=os.getppid())
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.2)
        accept_connection_requests(inherited)
        with socket.create_connection(address, timeout=5):
            pass
