"""WebSocket (RFC 6455) by wsproto: the handshake, frames to the client, frames from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Seconds between two pings.
PING_EVERY: Final = 20.0

# Close codes: after the terminal message; on deploy; and refusals, which a browser could not tell
# apart by their HTTP status.
DONE: Final = 1000
RESTART: Final = 1012
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NOT_FOUND: Final = 4404
TRY_LATER: Final = 1013

#: Whole frames from a server are not masked and depend on nothing sent before: one writer for all.
_writer: Final = Connection(ConnectionType.SERVER)


def accept(environ: WSGIEnvironment) -> dict[str, str]:
    """The headers of the 101 answer. Raises ``ValueError`` for a handshake that is not valid."""
    headers = [
        (name[5:].replace("_", "-").lower().encode(), str(value).encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    try:
        WSConnection(ConnectionType.SERVER).initiate_upgrade_connection(headers, "/")
    except (RemoteProtocolError, h11.ProtocolError) as error:
        raise ValueError(str(error)) from None
    key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode("latin-1")
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": generate_accept_token(key).decode(),
    }


def text(payload: bytes) -> bytes:
    """A text frame; ``payload`` is UTF-8."""
    return _writer.send(TextMessage(data=payload.decode()))


def ping() -> bytes:
    return _writer.send(Ping())


def close(code: int) -> bytes:
    """A close frame: nothing may follow it."""
    return Connection(ConnectionType.SERVER).send(CloseConnection(code=code))


class Incoming:
    """What a client sends: pings to answer and its goodbye; everything else is passed over."""

    __slots__ = ("_connection", "closed")

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self.closed = False

    def feed(self, data: bytes) -> bytes:
        """The frames to send in answer."""
        answer = b""
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                if isinstance(event, Ping | CloseConnection):
                    answer += self._connection.send(event.response())
                self.closed |= isinstance(event, CloseConnection)
        except (RemoteProtocolError, LocalProtocolError):
            self.closed = True
        return answer
