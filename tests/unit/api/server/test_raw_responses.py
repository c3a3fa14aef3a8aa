"""A raw response is the same bytes whichever server sends it."""

from __future__ import annotations

from typing import Any

import pytest

from api.server import requests
from api.server.raw_responses import ENVIRON_KEY, RawResponse
from api.server.requests import RequestParser
from api.server.responses import ResponseWriter

RESPONSE = RawResponse("200 OK", 'ETag: "3"\r\nX-Note: a: b\r\nContent-Length: 5\r\n', b"hello")


class Client:
    """A socket that accepts three bytes first, then the rest."""

    def __init__(self) -> None:
        self.received = b""

    def send(self, data: bytes, _timeout: float) -> float:
        self.received += data
        return 0.0


def sent(data: bytes, *, raw: bool) -> tuple[bytes, bool]:
    """Return what the worker sends, and whether it keeps the connection."""
    parser = RequestParser(requests.base_environ(("10.0.0.1", 5), ("127.0.0.1", 80)), max_body=1)
    parser.feed(data)
    client, request = Client(), parser.request
    writer = ResponseWriter(client, request.environ, keep_alive=request.keep_alive)
    start_response: Any = writer.start_response
    if raw:
        assert RESPONSE.to_wsgi(request.environ, start_response) is RESPONSE
        writer.send_raw(RESPONSE)
    else:
        del request.environ[ENVIRON_KEY]
        writer.send(RESPONSE.to_wsgi(request.environ, start_response))
    return client.received, writer.keep_alive


@pytest.mark.parametrize(
    ("request_", "connection", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"close", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"keep-alive", True),
        (b"GET / HTTP/1.0\r\n\r\n", b"close", False),
    ],
)
def test_worker_sends_what_any_other_server_would(
    request_: bytes, connection: bytes, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_790_000_000.0)
    raw = sent(request_, raw=True)
    assert raw == sent(request_, raw=False)
    received, keeps = raw
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert (b"Connection: " + connection in head) if connection else (b"Connection" not in head)
    assert keeps is kept
