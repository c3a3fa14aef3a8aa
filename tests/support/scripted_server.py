"""An HTTP server that sends prepared responses, and helpers to prepare them."""

from __future__ import annotations

import socket
import ssl
import threading
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ScriptedServer:
    """A server that sends the given responses, one for each request, and closes."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """``tls``: for a server named ``localhost``."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
        self._tls = tls
        self.responses: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._respond(connection)

    def _respond(self, connection: socket.socket) -> None:
        while self.responses:
            request = b""
            while b"\r\n\r\n" not in request:
                block = connection.recv(65_536)
                if not block:
                    return
                request += block
            self.requests.append(request)
            response = self.responses.pop(0)
            if response is None:
                return
            connection.sendall(response)
            if b"Connection: close" in response or b"hang" in response:
                time.sleep(0.5 if b"hang" in response else 0)
                return


def response(body: bytes = b"", *, status: int = 200, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    length = "" if "content_length" in headers else f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} x\r\n{lines}{length}\r\n".encode() + body


def error(status: int, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
