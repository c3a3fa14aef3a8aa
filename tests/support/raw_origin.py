"""An HTTP origin that sends exactly the bytes that a test wants, on a free port of the loopback."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

#: What an origin does: sends bytes, waits for seconds, or closes the connection (None).
Step = bytes | float | None
ETAG = '"v1"'


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def range(self) -> tuple[int, int | None] | None:
        """The first and last byte of ``Range``; None for the last: until the end."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        return match and (int(match[1]), int(match[2]) if match[2] else None)

    @property
    def is_description(self) -> bool:
        """Whether it only asks what the file is like."""
        return self.method == "HEAD" or self.range == (0, 0)


def response(
    body: bytes = b"", status: int = 200, *, etag: str | None = ETAG, **headers: object
) -> bytes:
    """Return a response; headers are named with underscores, None leaves a header out."""
    lines: dict[str, object] = {"etag": etag, "content_length": len(body), **headers}
    head = "".join(
        f"{name.replace('_', '-')}: {value}\r\n"
        for name, value in lines.items()
        if value is not None
    )
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + body


def partial(request: Request, data: bytes, **headers: object) -> bytes:
    """Return the correct response to a request for a range of ``data``, or for all of it."""
    if request.range is None:
        return response(data, accept_ranges="bytes", **headers)
    first, last = request.range
    if first >= len(data):
        return response(status=416, content_range=f"bytes */{len(data)}")
    body = data[first : None if last is None else last + 1]
    content_range = f"bytes {first}-{first + len(body) - 1}/{len(data)}"
    return response(body, 206, **{"content_range": content_range, **headers})


class RawOrigin:
    """Serves every request with the steps that ``serve`` returns for it."""

    def __init__(
        self,
        serve: Callable[[Request], Iterable[Step] | bytes],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._serve = serve
        self._tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                return
        with connection, connection.makefile("rb") as reader:
            try:
                while (request := _read_request(reader)) is not None:
                    if request.target == "*":
                        # An HTTP/2 client that looks for a server of another test on this port.
                        return
                    self.requests.append(request)
                    steps = self._serve(request)
                    for step in [steps] if isinstance(steps, bytes) else steps:
                        if step is None:
                            return
                        if isinstance(step, bytes):
                            connection.sendall(step)
                        else:
                            time.sleep(step)
            except OSError:
                return


def _read_request(reader: BinaryIO) -> Request | None:
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line.decode("latin-1").strip())
    if not lines:
        return None
    method, target, _ = lines[0].split(" ")
    fields = (line.partition(":") for line in lines[1:])
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return Request(method, target, headers)
