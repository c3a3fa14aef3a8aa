"""Responses that take the connection away from the web server."""

from __future__ import annotations

import _socket
import socket

import pytest
from werkzeug.test import create_environ

from api.server.hijacking import Hijack, HijackResponse


def test_stream_does_not_announce_a_length() -> None:
    body = Hijack(lambda *_: None)
    response = HijackResponse(body, 200, {"Content-Type": "text/event-stream"})
    stream, status, headers = response.get_wsgi_response(create_environ())
    assert stream is body
    assert status == "200 OK"
    assert dict(headers) == {"Content-Type": "text/event-stream"}


def test_client_that_is_gone_before_the_hijack_abandons_the_stream() -> None:
    calls: list[str] = []
    body = Hijack(lambda *_: calls.append("hijacked"), lambda: calls.append("abandoned"))
    body.close()
    body.close()
    assert calls == ["abandoned"]


def test_other_servers_read_the_stream_from_the_body() -> None:
    def write(connection: _socket.socket, head: bytes) -> None:
        connection.sendall(head + b"event")
        connection.close()

    body = Hijack(write)
    assert b"".join(body) == b"event"
    body.close()


def test_a_stream_that_cannot_be_started_is_abandoned() -> None:
    # Otherwise, it would count as open until the process ends.
    calls: list[str] = []

    def fail(*_: object) -> None:
        raise OSError("reset")

    body = Hijack(fail, lambda: calls.append("abandoned"))
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(OSError, match="reset"):
        body.take_connection(ours, b"")
    body.close()
    assert calls == ["abandoned"]
