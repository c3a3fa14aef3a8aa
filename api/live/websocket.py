"""WebSocket (RFC 6455) with wsproto: the handshake, frames to the client, frames from it."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Final

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Seconds.
PING_INTERVAL: Final = 20.0

#: The only version of the protocol (RFC 6455).
VERSION: Final = "13"

#: Frames, or parts of large ones, that a client may send at once, and per second after that.
MAX_FRAMES: Final = 50.0
FRAMES_PER_SECOND: Final = 2.0

#: Bytes of a handshake's key.
KEY_LENGTH: Final = 16

# Close codes. After the terminal message, on deploy, and when a stream cannot be opened now:
NORMAL_CLOSURE: Final = 1000
POLICY_VIOLATION: Final = 1008
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
# Rejections, whose HTTP status a browser would hide from its page:
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NOT_FOUND: Final = 4404

#: A server's complete frames are not masked and do not depend on earlier ones, so all streams
#: share one encoder.
_encoder: Final = Connection(ConnectionType.SERVER)


def accept(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the headers of the 101 response. Raise ``ValueError`` for an invalid handshake."""
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
    # RFC 6455, 4.1: 16 bytes in base64. binascii's errors are ValueErrors.
    if len(base64.b64decode(key, validate=True)) != KEY_LENGTH:
        raise ValueError("Sec-WebSocket-Key must have 16 bytes.")
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": generate_accept_token(key).decode(),
    }


def has_other_version(environ: WSGIEnvironment) -> bool:
    """Return whether a handshake names a version of the protocol that does not exist here."""
    return bool(environ.get("HTTP_SEC_WEBSOCKET_VERSION", VERSION).strip() != VERSION)


def text(payload: str) -> bytes:
    """Return a text frame."""
    return _encoder.send(TextMessage(data=payload))


def ping() -> bytes:
    """Return a ping frame."""
    return _encoder.send(Ping())


def close(code: int) -> bytes:
    """Return a close frame, the last frame of a connection."""
    return Connection(ConnectionType.SERVER).send(CloseConnection(code=code))


class FrameParser:
    """Reads a client's frames. Replies to pings and to its close frame; ignores the rest.

    A client has little to say here. Reading frames costs more time than sending them, so one that
    sends many is disconnected.
    """

    __slots__ = ("_allowance", "_connection", "_since", "closed")

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        #: Frames that the client may send at the moment, and when that was counted.
        self._allowance = MAX_FRAMES
        self._since = time.monotonic()
        self.closed = False

    def feed(self, data: bytes) -> bytes:
        """Return the frames to send in reply."""
        self._renew_allowance()
        reply = b""
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                self._allowance -= 1
                if self._allowance < 0:
                    self.closed = True
                    return reply + close(POLICY_VIOLATION)
                if isinstance(event, Ping | CloseConnection):
                    reply += self._connection.send(event.response())
                self.closed |= isinstance(event, CloseConnection)
        except (RemoteProtocolError, LocalProtocolError):
            self.closed = True
        return reply

    def _renew_allowance(self) -> None:
        now = time.monotonic()
        earned = (now - self._since) * FRAMES_PER_SECOND
        self._allowance = min(MAX_FRAMES, self._allowance + earned)
        self._since = now
