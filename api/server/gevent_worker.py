"""The gunicorn worker: gevent greenlets, a fast HTTP parser, and connections that can be hijacked.

gunicorn's own gevent worker spends 0.13 ms per request outside of the application, this one
0.02 ms (docs/decisions/0006-hijacked-connections-for-live-updates.md). TLS and HTTP/2 end at the
proxy in front.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any, Final

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from api.server import connections, requests, responses
from api.server.connections import ClientConnection
from api.server.hijacking import Hijack
from api.server.listeners import accept_connection_requests, stop_listening
from api.server.raw_responses import RawResponse
from api.server.requests import ProtocolError, Request, RequestParser
from api.server.responses import ResponseWriter

#: Seconds for a whole request from its first byte: a client that sends a byte now and then must
#: not hold a connection for longer.
RECEIVE_TIMEOUT: Final = 20.0
#: Seconds over which live streams are closed on shutdown.
DRAIN_TIME: Final = 1.5
#: Seconds on shutdown for the first request of a connection: its client has just connected.
FIRST_REQUEST_GRACE: Final = 1.0
#: Share of ``worker_connections`` beyond which connections are closed: those first that have waited
#: for their client for the longest time. Otherwise one client could occupy all of them.
MAX_CONNECTION_SHARE: Final = 0.9
#: Bytes of a body, if nothing else is configured.
DEFAULT_MAX_BODY: Final = 65_536


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves one WSGI application on one event loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Called on shutdown with the seconds that it may take.
        self.drain: Callable[[float], None] = gevent.sleep
        #: Bytes of a request's body.
        self.max_body = DEFAULT_MAX_BODY
        self._connections: set[ClientConnection] = set()

    def run(self) -> None:
        """Serve until asked to stop; then finish requests and close idle connections."""
        servers = []
        check_timer = gevent.get_hub().loop.timer(1.0, 1.0)
        check_timer.start(self._check_connections)
        pool = Pool(self.worker_connections)
        for listener in self.sockets:
            listener.setblocking(1)
            handle = partial(self._serve, listener.getsockname())
            server = StreamServer(listener, handle=handle, spawn=pool)
            # Where several workers accept from one socket, each takes one connection at a time.
            server.max_accept = 1 if self.cfg.workers > 1 else 100
            server.start()
            servers.append(server)
        while self.alive:
            self.notify()
            for listener in self.sockets:
                accept_connection_requests(listener)
            gevent.sleep(0.2)
        for server in servers:
            stop_listening(server, pool, parent=self.ppid)
        self._shut_down(pool)

    def _shut_down(self, pool: Pool) -> None:
        draining = gevent.spawn(self.drain, DRAIN_TIME)
        started = time.monotonic()
        with gevent.Timeout(self.cfg.graceful_timeout, False):
            while len(pool) or not draining.ready():
                self._close_idle(also_new=time.monotonic() - started > FIRST_REQUEST_GRACE)
                self.notify()
                gevent.sleep(0.1)
        pool.kill(timeout=1)

    def _close_idle(self, *, also_new: bool) -> None:
        """Let connections between two requests end; ``also_new``: also those before their first."""
        for connection in self._connections:
            if connection.idle and (connection.served or also_new):
                connection.end_waiting()

    def _close_oldest(self) -> None:
        """Let the connection end that has waited for its client for the longest time."""
        waiting = [each for each in self._connections if each.waiting_since is not None]
        if waiting:
            min(waiting, key=attrgetter("waiting_since")).end_waiting()

    def _check_connections(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections):
            connection.check(now)

    def _serve(
        self, server: tuple[str, int], client: socket.socket, address: tuple[str, int]
    ) -> None:
        """Serve one connection, request by request."""
        if len(self._connections) >= MAX_CONNECTION_SHARE * self.worker_connections:
            self._close_oldest()
        connection = ClientConnection(client, gevent.get_hub().loop)
        self._connections.add(connection)
        base = requests.base_environ(address, server)
        base[connections.ENVIRON_KEY] = connection
        parser = RequestParser(base, max_body=self.max_body)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(responses.TIMEOUT)
            while self._receive_request(connection, parser):
                keep_alive = self._respond(connection, parser.request)
                connection.served = True
                if not keep_alive or connection.disconnected:
                    connection.close()
                    return
                parser.start_next()
                if parser.in_request:
                    # Pipelined: others come first.
                    gevent.sleep(0)
        except ProtocolError as error:
            with suppress(OSError):
                client.sendall(responses.error_response(error.status, is_head=parser.is_head))
                connection.close()
        except OSError:
            self.log.debug("connection lost")
        finally:
            self._connections.discard(connection)
            connection.stop_watching()
            parser.close()
            client.close()

    def _receive_request(self, connection: ClientConnection, parser: RequestParser) -> bool:
        """Read a whole request; return False when the client is gone or idle for too long.

        Raises ``ProtocolError``.
        """
        timeout = RECEIVE_TIMEOUT if parser.in_request else self.cfg.keepalive
        connection.waiting_since = time.monotonic()
        deadline = connection.waiting_since + timeout
        while not parser.complete:
            if parser.take_expectation():
                connection.socket.sendall(responses.CONTINUE)
            if not parser.in_request and connection.served and not self.alive:
                return False
            connection.idle = not parser.in_request
            try:
                data = connection.receive(deadline)
            except TimeoutError:
                if parser.in_request:
                    raise ProtocolError(responses.REQUEST_TIMEOUT) from None
                return False
            finally:
                connection.idle = False
            if not data:
                return False
            started = parser.in_request
            parser.feed(data)
            if parser.in_request and not started:
                connection.waiting_since = time.monotonic()
                deadline = connection.waiting_since + RECEIVE_TIMEOUT
        connection.waiting_since = None
        return True

    def _respond(self, connection: ClientConnection, request: Request) -> bool:
        """Run the application; return whether the connection can serve another request."""
        client = connection.socket
        keep_alive = self.alive and request.keep_alive
        writer = ResponseWriter(connection, request.environ, keep_alive=keep_alive)
        try:
            body = self.wsgi(request.environ, writer.start_response)
        except Exception:
            self.log.exception("the application raised an exception")
            raise ProtocolError(responses.INTERNAL_SERVER_ERROR) from None
        if type(body) is RawResponse:
            writer.send_raw(body)
            return writer.keep_alive
        try:
            if isinstance(body, Hijack) and not writer.is_head:
                connection.stop_watching()
                connection.hijacked = True
                body.take_connection(client, writer.head_of_hijack())
                return False
            writer.send(body)
        finally:
            if hasattr(body, "close"):
                body.close()
        return writer.keep_alive
