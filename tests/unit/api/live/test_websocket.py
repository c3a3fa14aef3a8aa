"""WebSocket: the handshake and both directions of frames, against wsproto's own client."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError

from api.live import websocket


class Client:
    """The client's side of an open WebSocket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._protocol = Connection(ConnectionType.CLIENT)
        self.pongs: list[bytes] = []
        self.pings = 0
        self.close_code: int | None = None

    def skip(self, expected: bytes) -> None:
        assert self._socket.recv(len(expected)) == expected

    def ping(self, payload: bytes) -> bytes:
        return self._protocol.send(Ping(payload=payload))

    def close(self, code: int) -> bytes:
        return self._protocol.send(CloseConnection(code=code))

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages that have arrived."""
        self._protocol.receive_data(self._socket.recv(1_000_000))
        found = []
        for event in self._protocol.events():
            if isinstance(event, TextMessage):
                found.append(json.loads(event.data))
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            elif isinstance(event, Ping):
                self.pings += 1
            elif isinstance(event, CloseConnection):
                self.close_code = event.code
        return found


HANDSHAKE = {
    "HTTP_HOST": "localhost",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "keep-alive, Upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


def test_handshake_is_accepted_as_rfc_6455_says() -> None:
    assert websocket.accept(HANDSHAKE)["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "changes",
    [
        {"HTTP_SEC_WEBSOCKET_KEY": None},
        {"HTTP_SEC_WEBSOCKET_KEY": "c2hvcnQ="},
        {"HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ"},
        {"HTTP_SEC_WEBSOCKET_VERSION": "8"},
        {"HTTP_CONNECTION": "keep-alive"},
        {"HTTP_HOST": None},
    ],
)
def test_invalid_handshake_is_rejected(changes: dict[str, str | None]) -> None:
    environ = {k: v for k, v in {**HANDSHAKE, **changes}.items() if v is not None}
    with pytest.raises(ValueError, match=r"."):
        websocket.accept(environ)


def test_text_is_one_unmasked_utf8_frame() -> None:
    frame = websocket.text('{"name":"Überfahrt"}')
    assert frame[0] == 0x81
    assert frame[1] == len(frame) - 2
    assert json.loads(frame[2:]) == {"name": "Überfahrt"}


def test_close_frame_can_be_made_repeatedly() -> None:
    assert websocket.close(1012) == websocket.close(1012) == b"\x88\x02\x03\xf4"


@pytest.mark.parametrize(
    "bytes_",
    [b"\x81\x05hello", b"\xff\xff\xff\xff\xff", b"\x89\xfe\xff\xff" + b"x" * 300, b"\x83\x80abcd"],
)
def test_invalid_frames_close_the_connection(bytes_: bytes) -> None:
    parser = websocket.FrameParser()
    parser.feed(bytes_)
    assert parser.closed


def test_messages_from_the_client_are_ignored() -> None:
    parser = websocket.FrameParser()
    client = Connection(ConnectionType.CLIENT)
    assert parser.feed(client.send(TextMessage(data="hello" * 1000))) == b""
    assert not parser.closed


def test_parser_is_closed_after_a_close_frame() -> None:
    parser = websocket.FrameParser()
    client = Connection(ConnectionType.CLIENT)
    reply = parser.feed(client.send(CloseConnection(code=1000)))
    assert reply
    assert parser.closed
    assert client.state is ConnectionState.LOCAL_CLOSING
    with pytest.raises(LocalProtocolError):
        client.send(TextMessage(data="late"))


@pytest.mark.parametrize(
    "frames", [b"\x8a\x80abcd" * 1_000, b"\x01\x80abcd" + b"\x00\x80abcd" * 1_000]
)
def test_client_that_sends_many_frames_is_disconnected(frames: bytes) -> None:
    parser = websocket.FrameParser()
    reply = parser.feed(frames)
    assert parser.closed
    # RFC 6455, 7.4.1
    assert reply == websocket.close(1008)


def test_client_may_send_a_frame_now_and_then_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("api.live.websocket.time.monotonic", lambda: now)
    parser = websocket.FrameParser()
    client = Connection(ConnectionType.CLIENT)
    for _ in range(1_000):
        now += 1
        assert parser.feed(client.send(Ping(payload=b"still here")))
    assert not parser.closed
