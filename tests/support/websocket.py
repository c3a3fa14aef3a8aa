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


class UpgradeRejected(Exception):
    """The server responded to the upgrade with this HTTP status."""


def messages(url: str, *, timeout: float = 10.0) -> Iterator[str]:
    """Yield text messages until either side closes the connection.

    Raises ``UpgradeRejected``, and ``TimeoutError`` when no message arrives in time.
    """
    target = httpx.URL(url)
    connection = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection((target.host, target.port or 80), timeout=timeout) as client:
        client.sendall(
            connection.send(Request(host=target.netloc.decode(), target=target.raw_path.decode()))
        )
        text = ""
        while data := client.recv(65_536):
            connection.receive_data(data)
            for event in connection.events():
                match event:
                    case AcceptConnection():
                        pass
                    case RejectConnection():
                        raise UpgradeRejected(event.status_code)
                    case Ping():
                        client.sendall(connection.send(event.response()))
                    case CloseConnection():
                        _reply_to_close(connection, client, event)
                        return
                    case TextMessage():
                        text += event.data
                        if event.message_finished:
                            yield text
                            text = ""


def _reply_to_close(
    connection: WSConnection, client: socket.socket, event: CloseConnection
) -> None:
    try:
        client.sendall(connection.send(event.response()))
    except (OSError, LocalProtocolError):
        return
