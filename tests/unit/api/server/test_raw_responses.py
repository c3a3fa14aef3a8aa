"""A prepared answer is the same bytes whoever sends it."""

from __future__ import annotations

import pytest

from api.server import http1
from api.server.gevent_worker import ResponseWriter
from api.server.http1 import RequestParser
from api.server.raw_responses import TAKEN, RawResponse

ANSWER = RawResponse("200 OK", 'ETag: "3"\r\nX-Note: a: b\r\nContent-Length: 5\r\n', b"hello")


class Client:
    """A socket that takes three bytes first, then the rest."""

    def __init__(self) -> None:
        self.received = b""

    def send(self, data: bytes) -> int:
        self.received += data[:3]
        return min(3, len(data))

    def sendall(self, data: bytes) -> None:
        self.received += data


def sent(request: bytes, *, whole: bool) -> tuple[bytes, bool]:
    """What the worker sends, and whether it keeps the connection."""
    reader = RequestParser(http1.base_environ(("10.0.0.1", 5), ("127.0.0.1", 80)))
    reader.feed(request)
    client, asked = Client(), reader.ready.popleft()
    answer = ResponseWriter(client, asked, keep=True)  # type: ignore[arg-type]
    if whole:
        assert ANSWER.give(asked.environ, answer.start) is ANSWER
        answer.send_prepared(ANSWER)
    else:
        del asked.environ[TAKEN]
        answer.send(ANSWER.give(asked.environ, answer.start))
    return client.received, answer.keep_alive


@pytest.mark.parametrize(
    ("request_", "connection", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"close", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"keep-alive", True),
        (b"GET / HTTP/1.0\r\n\r\n", b"close", False),
    ],
)
def test_our_worker_sends_what_any_other_would(
    request_: bytes, connection: bytes, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_790_000_000.0)
    whole = sent(request_, whole=True)
    assert whole == sent(request_, whole=False)
    received, keeps = whole
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert (b"Connection: " + connection in head) if connection else (b"Connection" not in head)
    assert keeps is kept
