"""The gunicorn worker: gevent's greenlets, a fast parser, and connections that may be handed over.

gunicorn's own gevent worker spends 0.13 ms on a request before the application sees it, this one
0.02 ms; docs/performance.md has the figures. TLS and HTTP/2 end at the proxy in front.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.util import close_graceful
from gunicorn.workers.ggevent import GeventWorker

from api.server import http1
from api.server.connections import ClientConnection
from api.server.hijacking import Hijack
from api.server.http1 import ProtocolError, Request, RequestParser
from api.server.raw_responses import RawResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Seconds for the rest of a request once it has begun to arrive.
REQUEST_TIMEOUT: Final = 20.0
#: Seconds for a client to take in an answer.
ANSWER_TIMEOUT: Final = 60.0
#: Seconds over which live streams are closed at the end.
DRAIN: Final = 1.5


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves one WSGI application on one event loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Called at the end with the seconds it may take.
        self.drain: Callable[[float], None] = gevent.sleep
        self._connections: set[ClientConnection] = set()

    def run(self) -> None:
        """Serve until told to stop; then let requests finish and close the rest."""
        servers = []
        deadlines = gevent.get_hub().loop.timer(1.0, 1.0)
        deadlines.start(self._expire)
        pool = Pool(self.worker_connections)
        for listener in self.sockets:
            listener.setblocking(1)
            server = StreamServer(listener, handle=partial(self._serve, listener), spawn=pool)
            # Several workers listen on one socket: none should take more than its turn.
            server.max_accept = 1 if self.cfg.workers > 1 else 100
            server.start()
            servers.append(server)
        while self.alive:
            self.notify()
            gevent.sleep(0.2)
        for server in servers:
            server.close()
        self._stop(pool)

    def _stop(self, pool: Pool) -> None:
        draining = gevent.spawn(self.drain, DRAIN)
        for connection in self._connections:
            if connection.idle:
                connection.socket.shutdown(socket.SHUT_RD)
        with gevent.Timeout(self.cfg.graceful_timeout, False):
            while len(pool) or not draining.ready():
                self.notify()
                gevent.sleep(0.1)
        pool.kill(timeout=1)

    def _expire(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections):
            connection.expire(now)

    def _serve(self, listener: Any, client: socket.socket, address: tuple[str, int]) -> None:
        """One connection, request by request."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(ANSWER_TIMEOUT)
        connection = ClientConnection(client, gevent.get_hub().loop)
        self._connections.add(connection)
        reader = RequestParser(http1.base_environ(address, listener.getsockname()))
        try:
            while self._await_request(connection, reader):
                if not self._answer(connection, reader.ready.popleft()):
                    return
        except ProtocolError as refused:
            client.sendall(http1.refusal(refused.status))
            close_graceful(client)
        except OSError:
            self.log.debug("connection lost")
        finally:
            self._connections.discard(connection)
            connection.release()
            client.close()

    def _await_request(self, connection: ClientConnection, reader: RequestParser) -> bool:
        """Read until a whole request is there; False when the client has gone or waits too long."""
        while not reader.ready:
            if not reader.begun and not self.alive:
                return False
            connection.idle = not reader.begun
            data = connection.receive(REQUEST_TIMEOUT if reader.begun else self.cfg.keepalive)
            connection.idle = False
            if not data:
                return False
            reader.feed(data)
            if reader.waits:
                connection.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _answer(self, connection: ClientConnection, request: Request) -> bool:
        """Run the application; True when the connection may be used again."""
        client = connection.socket
        answer = ResponseWriter(client, request, keep=self.alive)
        try:
            body = self.wsgi(request.environ, answer.start)
        except Exception:
            self.log.exception("the application failed")
            raise ProtocolError(http1.FAILED) from None
        if type(body) is RawResponse:
            answer.send_prepared(body)
            return answer.keep_alive
        try:
            if isinstance(body, Hijack) and answer.may_stream:
                connection.release()
                body.take(client, answer.head_of_handover())
                return False
            answer.send(body)
            if request.cut_off:
                close_graceful(client)
        finally:
            if hasattr(body, "close"):
                body.close()
        return answer.keep_alive


class ResponseWriter:
    """What the application says, on its way to the client."""

    def __init__(self, client: socket.socket, request: Request, *, keep: bool) -> None:
        self._client = client
        self._environ: WSGIEnvironment = request.environ
        self.keep_alive = keep and request.keep_alive and not request.upgrade
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:  # noqa: ARG002
        """PEP 3333's ``start_response``, without its deprecated ``write``."""
        self._status = status
        self._headers = headers

    @property
    def _is_old(self) -> bool:
        """Without chunks, and closed unless it says otherwise (RFC 9112, 9.3)."""
        return bool(self._environ["SERVER_PROTOCOL"] == "HTTP/1.0")

    @property
    def may_stream(self) -> bool:
        return bool(self._environ["REQUEST_METHOD"] != "HEAD")

    def head_of_handover(self) -> bytes:
        upgraded = self._status.startswith("101")
        more = "" if upgraded else "Connection: close\r\n"
        return http1.head(self._status, self._headers, more)

    def send_prepared(self, prepared: RawResponse) -> None:
        self._send(http1.prepared(prepared, self._connection()))

    def send(self, body: Iterable[bytes]) -> None:
        """Send head and body, framed by the length where it is known."""
        bodiless = not self.may_stream or self._status.startswith(http1.BODILESS)
        if bodiless:
            self._send(self._head())
        elif any(name.lower() == "content-length" for name, _ in self._headers):
            self._send(self._head() + b"".join(body))
        elif self._is_old:
            self.keep_alive = False
            self._client.sendall(self._head())
            for part in body:
                self._client.sendall(part)
        else:
            self._client.sendall(self._head("Transfer-Encoding: chunked\r\n"))
            for part in filter(None, body):
                self._client.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            self._client.sendall(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        # Mostly one call takes it all; gevent's sendall costs several.
        sent = self._client.send(data)
        if sent < len(data):
            self._client.sendall(data[sent:])

    def _head(self, more: str = "") -> bytes:
        return http1.head(self._status, self._headers, more + self._connection())

    def _connection(self) -> str:
        if not self.keep_alive:
            return "Connection: close\r\n"
        return "Connection: keep-alive\r\n" if self._is_old else ""
