"""A service for AUTHORIZE_URL that decides by a table of rights, or misbehaves as the test says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_bG9uZ2hhdWwtYXV0aG9yaXphdGlvbi1zZWNyZXQ="


@dataclass(kw_only=True)
class AuthorizationServer:
    """``rights``: the files of each user. ``requests``: what was asked."""

    url: str = ""
    rights: dict[str, set[int]] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    #: Sends something else than the decision, if set.
    misbehave: Callable[[BaseHTTPRequestHandler], None] | None = None

    def decide(self, request: dict[str, Any]) -> dict[str, Any]:
        allowed = self.rights.get(request["user"], set())
        return {
            "allowed": [each for each in request["file_ids"] if each in allowed],
            "denied": [each for each in request["file_ids"] if each not in allowed],
        }


def respond(body: bytes, status: int = 200, **headers: str) -> Callable[[Any], None]:
    """Return a behavior that sends this response."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Send a correct response byte by byte, so that no read ever times out."""
    body = b'{"allowed": [1, 2, 3], "denied": []}'.ljust(200)
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for byte in body:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Send nothing until the client gives up."""
    handler.connection.settimeout(10)
    handler.connection.recv(1)


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """Announce more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"allowed": [1, 2, 3]}')
    handler.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def running() -> Iterator[AuthorizationServer]:
    service = AuthorizationServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise the body waits for the acknowledgment of the head, 40 ms for each request.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            service.bodies.append(body)
            service.headers.append({name.lower(): value for name, value in self.headers.items()})
            request = json.loads(body)
            service.requests.append(request)
            try:
                if service.misbehave is not None:
                    self.close_connection = True
                    service.misbehave(self)
                else:
                    respond(json.dumps(service.decide(request)).encode())(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}/authorize"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
