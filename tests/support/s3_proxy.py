"""An HTTP proxy for S3 that makes requests fail in the ways of storages and networks."""

from __future__ import annotations

import contextlib
import random
import socket
import socketserver
import threading
import time
from collections import Counter
from typing import BinaryIO, Final, Literal, Self, cast

Fault = Literal["500", "503", "507", "truncate", "flip", "reset"]
#: Faults for any request; 507 is for writes only.
ANY_REQUEST: Final[tuple[Fault, ...]] = ("500", "503", "truncate", "flip", "reset")

_ERRORS: Final = {
    "500": (b"500 Internal Server Error", b"InternalError"),
    "503": (b"503 Slow Down", b"SlowDown"),
    "507": (b"507 Insufficient Storage", b"InsufficientStorage"),
}
_CHUNK: Final = 65_536


class S3Proxy:
    """Forwards requests to an S3 server; each fails with the given probability."""

    def __init__(self, target: int, *, seed: int) -> None:
        """``target`` is a port on 127.0.0.1; ``seed`` makes the faults reproducible."""
        self.target = target
        self.faults: tuple[Fault, ...] = ()
        self.share = 0.0
        #: The number of injected faults by kind.
        self.injected: Counter[str] = Counter()
        #: When the last ``fail`` had its first effect.
        self.failing_since = 0.0
        self._random = random.Random(seed)
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.proxy = self
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, *faults: Fault, share: float) -> None:
        """Make this share (0 to 1) of the requests fail in one of these ways."""
        self.faults, self.share, self.failing_since = faults, share, 0.0

    def heal(self) -> None:
        self.faults, self.share = (), 0.0

    def choose(self, method: bytes) -> Fault | None:
        if not self.faults or self._random.random() >= self.share:
            return None
        fault = self._random.choice(self.faults)
        if fault == "507" and method not in {b"PUT", b"POST"}:
            return None
        self.injected[fault] += 1
        self.failing_since = self.failing_since or time.monotonic()
        return fault


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256
    proxy: S3Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close the connection."""


class _Connection(socketserver.StreamRequestHandler):
    """A client connection and its own connection to the S3 server."""

    def handle(self) -> None:
        proxy = cast("_Server", self.server).proxy
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(
                socket.create_connection(("127.0.0.1", proxy.target), timeout=60)
            )
            store.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            responses = stack.enter_context(store.makefile("rb"))
            while self._one_request(proxy, store, cast("BinaryIO", responses)):
                pass

    def _one_request(self, proxy: S3Proxy, store: socket.socket, responses: BinaryIO) -> bool:
        head, headers = _read_head(cast("BinaryIO", self.rfile))
        if not head:
            return False
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"".join(
                line for line in head.splitlines(True) if not line.lower().startswith(b"expect:")
            )
        fault = proxy.choose(head.split(b" ", 1)[0])
        length = int(headers.get(b"content-length", b"0"))
        if fault in _ERRORS:
            self.rfile.read(length)
            return self._send_error(fault)
        store.sendall(head)
        while length:
            piece = self.rfile.read(min(length, _CHUNK))
            store.sendall(piece)
            length -= len(piece)
        return self._forward_response(responses, head.startswith(b"HEAD "), fault)

    def _send_error(self, fault: Fault) -> bool:
        status, code = _ERRORS[fault]
        body = b"<Error><Code>" + code + b"</Code><Message>injected</Message></Error>"
        self.wfile.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Type: application/xml\r\nContent-Length: "
            + str(len(body)).encode() + b"\r\n\r\n" + body
        )  # fmt: skip
        return True

    def _forward_response(
        self, responses: BinaryIO, has_no_body: bool, fault: Fault | None
    ) -> bool:
        head, headers = _read_head(responses)
        if not head or fault == "reset":
            return False
        self.wfile.write(head)
        if has_no_body or head.split(b" ", 2)[1] in {b"204", b"304"}:
            return True
        if b"content-length" not in headers:
            return self._forward_chunks(responses)
        left = int(headers[b"content-length"])
        stop_at = left // 2 if fault == "truncate" else -1
        while left:
            piece = responses.read(min(left, _CHUNK))
            if not piece:
                return False
            if fault == "flip":
                piece, fault = bytes([piece[0] ^ 1]) + piece[1:], None
            left -= len(piece)
            self.wfile.write(piece)
            if left <= stop_at:
                return False
        return True

    def _forward_chunks(self, responses: BinaryIO) -> bool:
        """Forward a body with Transfer-Encoding: chunked unchanged (RFC 9112, section 7.1)."""
        while True:
            size = responses.readline()
            body = responses.read(int(size.split(b";")[0], 16) + 2)
            self.wfile.write(size + body)
            if size.strip() == b"0":
                return True


def _read_head(stream: BinaryIO) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the bytes up to the empty line, and the headers by lower-case name."""
    lines = []
    while True:
        line = stream.readline()
        if not line:
            return b"", {}
        lines.append(line)
        if line == b"\r\n":
            break
    headers = {}
    for line in lines[1:-1]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    return b"".join(lines), headers
