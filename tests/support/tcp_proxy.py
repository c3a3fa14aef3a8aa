"""A TCP proxy on the loopback interface that can reset, hold, delay and slow down traffic."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Final, Literal, Self

Mode = Literal["forwarding", "refusing", "holding"]

_CHUNK: Final = 65_536
#: SO_LINGER on with 0 s: ``close`` sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)


class TcpProxy:
    """Forwards to a port; the methods inject and end faults at any time."""

    def __init__(self, target: int) -> None:
        """Listen on a free port and forward to ``target``, a port on 127.0.0.1."""
        self._target = target
        self._mode: Mode = "forwarding"
        self._rate: float | None = None
        self._delay = 0.0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # close() alone leaves the thread in accept(), which would accept one more connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def restore(self) -> None:
        """Forward everything at full speed again."""
        self._mode, self._rate, self._delay = "forwarding", None, 0.0

    def delay(self, seconds: float) -> None:
        """Delay all data by ``seconds`` in each direction."""
        self._mode, self._delay = "forwarding", seconds

    def hold(self) -> None:
        """Keep connections open and accept new ones, but forward no byte."""
        self._mode = "holding"

    def refuse(self) -> None:
        """Reset all connections with RST and refuse new ones."""
        self._mode = "refusing"
        self.reset()

    def slow(self, rate: float) -> None:
        """Limit each connection and direction to ``rate`` bytes a second."""
        self._mode, self._rate = "forwarding", rate

    def reset(self) -> None:
        """Reset all connections with RST; new ones are accepted."""
        with self._lock:
            sockets = list(self._open)
        for end in sockets:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._close(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._mode == "refusing":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            threading.Thread(
                target=self._serve, args=(client,), name="tcp-proxy", daemon=True
            ).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        self._wait_while_holding()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            self._close(client)
            return
        server.settimeout(None)
        for end in (client, server):
            # The connection may have been reset meanwhile; _pump notices.
            with contextlib.suppress(OSError):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(server)
        back = threading.Thread(
            target=self._pump, args=(server, client), name="tcp-proxy", daemon=True
        )
        back.start()
        self._pump(client, server)
        back.join()
        self._close(client)
        self._close(server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK if self._rate is None else 4_096):
                self._wait_while_holding()
                time.sleep(self._delay + (len(data) / self._rate if self._rate else 0.0))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One end is closed: close the other one too.
            self._close(source)
            self._close(sink)

    def _wait_while_holding(self) -> None:
        while self._mode == "holding":
            time.sleep(0.02)

    def _close(self, end: socket.socket) -> None:
        with self._lock:
            self._open.discard(end)
        # close() alone neither wakes up a thread that reads from the socket nor notifies the peer.
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
