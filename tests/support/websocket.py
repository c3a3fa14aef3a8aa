"""A small WebSocket client for tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError


class Refused(Exception):
    """The server answered the upgrade with this HTTP status."""


def messages(url: str, *, timeout: float = 10.0) -> Iterator[str]:
    """Text messages until either side ends; ``Refused``, or ``TimeoutError`` on silence."""
    target = httpx.URL(url)
    connection = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection((target.host, target.port or 80), timeout=timeout) as line:
        line.sendall(
            connection.send(Request(host=target.netloc.decode(), target=target.raw_path.decode()))
        )
        text = ""
        while data := line.recv(65_536):
            connection.receive_data(data)
            for event in connection.events():
                match event:
                    case AcceptConnection():
                        pass
                    case RejectConnection():
                        raise Refused(event.status_code)
                    case Ping():
                        line.sendall(connection.send(event.response()))
                    case CloseConnection():
                        _say_goodbye(connection, line, event)
                        return
                    case TextMessage():
                        text += event.data
                        if event.message_finished:
                            yield text
                            text = ""


def _say_goodbye(connection: WSConnection, line: socket.socket, event: CloseConnection) -> None:
    try:
        line.sendall(connection.send(event.response()))
    except (OSError, LocalProtocolError):
        return
