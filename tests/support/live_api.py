"""A real API process on a real job store, and clients that follow jobs as browsers do."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Self

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

from stack.process import Process, free_port, wait_until

ROOT = Path(__file__).parents[2]
ADMIN_TOKEN = "open sesame"
#: The headers of an operator.
OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


class Api:
    """gunicorn with the API, as in production. It can be stopped and started on the same port."""

    def __init__(self, redis_url: str, log: Path, **env: object) -> None:
        self.port = free_port()
        #: The address that ``get`` connects to.
        self.host = "127.0.0.1"
        self.process: Process
        #: The beginning of the command, such as a program that sets limits.
        self.launcher: list[str] = []
        self._log = log
        self._env = {
            "REDIS_URL": redis_url,
            "PORT": str(self.port),
            "S3_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "ALLOWED_HOSTS": "*",
            "TICKET_SECRET": "the same for all processes",
            "ADMIN_TOKEN": ADMIN_TOKEN,
            "MAX_ACTIVE_JOBS": "1000000",
            "MAX_STREAMS_PER_ADDRESS": "20000",
            "MAX_STREAMS_PER_USER": "20000",
            **{name: str(value) for name, value in env.items()},
        }

    def start(self) -> Self:
        command = [
            *self.launcher,
            *(sys.executable, "-m", "gunicorn", "-c", "api/gunicorn_conf.py", "api.wsgi:app"),
        ]
        self.process = Process("api", command, env=self._env, cwd=ROOT, output=self._log)
        wait_until(lambda: self.responds("/health/live"), "the API")
        return self

    def responds(self, path: str) -> bool:
        try:
            return self.get(path)[0] == 200
        except OSError:
            return False

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, timeout: float = 10
    ) -> tuple[int, Message, bytes]:
        """Return status, headers and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def post(self, path: str, body: object, **headers: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def open_stream(self, job_id: str, **options: Any) -> EventStream:
        """Open a stream; keywords: ``path``, ``headers``, ``timeout`` and ``buffer`` (bytes)."""
        return EventStream(self.port, job_id, **options)


@dataclass(frozen=True)
class SseEvent:
    """A server-sent event."""

    name: str
    #: Its ID; without one, that of the event before (0 at first), as in a browser.
    version: int
    job: dict[str, Any]


class EventStream:
    """A stream of server-sent events, read as a browser reads it."""

    def __init__(
        self,
        port: int,
        job_id: str,
        *,
        path: str = "/v1/download/subscribe/{id}",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10,
        buffer: int | None = None,
    ) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.socket.sendall(
            f"GET {path.format(id=job_id)} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
        )
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = http.client.parse_headers(self._file)
        self.retry: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def next(self) -> SseEvent:
        return next(iter(self))

    def __iter__(self) -> Iterator[SseEvent]:
        """Yield events until the server ends the stream."""
        fields: dict[str, str] = {}
        last_id = 0
        while line := self._file.readline():
            name, _, value = line.decode().rstrip("\n").partition(":")
            if name == "retry":
                self.retry.append(int(value))
            elif name:
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                last_id = int(fields.get("id", last_id))
                yield SseEvent(fields.get("event", "message"), last_id, json.loads(fields["data"]))
                fields = {}


class WebSocketClient:
    """A WebSocket client on wsproto."""

    def __init__(self, port: int, job_id: str, timeout: float = 10, query: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self.close_code: int | None = None
        self.pings = 0
        target = f"/v1/download/subscribe/{job_id}{query}"
        self.socket.sendall(self._protocol.send(Request(host="x", target=target)))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield messages until the server closes the connection."""
        text = ""
        while self.close_code is None:
            data = self.socket.recv(65_536)
            self._protocol.receive_data(data or None)
            for event in self._protocol.events():
                if isinstance(event, TextMessage):
                    text += event.data
                    if event.message_finished:
                        yield json.loads(text)
                        text = ""
                elif isinstance(event, Ping):
                    self.pings += 1
                    self.socket.sendall(self._protocol.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self.close_code = event.code
                else:
                    assert isinstance(event, AcceptConnection), event

    def close(self) -> None:
        self.socket.close()


@contextmanager
def running(api: Api) -> Iterator[Api]:
    """Start the API, and stop it at the end."""
    api.start()
    try:
        yield api
    finally:
        api.process.stop(10)
