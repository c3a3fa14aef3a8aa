"""A fake API behind nginx that returns the request it received and streams events on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Seconds that a stream waits for ``send_next_event``, or for its client to disconnect.
STREAM_TIMEOUT = 10.0


class Backend(ThreadingHTTPServer):
    """HTTP server that returns each request as JSON. A stream's second event waits for a test."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.send_next_event = threading.Event()
        self.client_gone = threading.Event()
        self.paths: list[str] = []
        self.connections: set[tuple[str, int]] = set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore disconnected clients, which some tests cause on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Backend

    def log_message(self, *_: Any) -> None:
        """Log nothing; nginx writes the access log."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.connections.add(self.client_address)
        if self.headers.get("Upgrade") == "websocket":
            self._echo_after_upgrade()
        elif "/subscribe/" in self.path or self.path.endswith("/stream"):
            self._stream()
        else:
            self._return_request()

    do_POST = do_GET  # noqa: N815

    def _return_request(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        padding = "x" * int(self.headers.get("X-Test-Padding") or 2_000)
        body = json.dumps({"path": self.path, "headers": headers, "padding": padding}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-ID", self.headers["X-Request-ID"])
        if size := self.headers.get("X-Test-Location-Size"):
            self.send_header("Location", "https://s3.test/?" + "x" * int(size))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.close_connection = True
        self.send_response(200)
        # No X-Accel-Buffering header: nginx must not buffer even without it.
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"event: connected\ndata: {}\n\n")
        self.connection.settimeout(STREAM_TIMEOUT)
        if "abandoned" not in self.path:
            self.server.send_next_event.wait(STREAM_TIMEOUT)
            self.wfile.write(b"event: completed\ndata: {}\n\n")
        elif self.connection.recv(1) == b"":
            self.server.client_gone.set()

    def _echo_after_upgrade(self) -> None:
        self.close_connection = True
        digest = hashlib.sha1(f"{self.headers['Sec-WebSocket-Key']}{WEBSOCKET_GUID}".encode())  # noqa: S324
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest.digest()).decode())
        self.end_headers()
        self.connection.settimeout(STREAM_TIMEOUT)
        while received := self.connection.recv(1024):
            self.connection.sendall(received)
