"""A TCP proxy on the loopback interface whose line a test can cut, hold, slow or refuse."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Final, Literal, Self

Line = Literal["up", "refused", "held"]

_CHUNK: Final = 65_536
#: SO_LINGER on with 0 s: ``close`` sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)


class TcpProxy:
    """Forwards to ``target``; what happens on the line is set at any moment by the methods."""

    def __init__(self, target: int) -> None:
        """``target`` is a port on 127.0.0.1."""
        self._target = target
        self._line: Line = "up"
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
        self._listener.close()
        self.reset()

    def restore(self) -> None:
        """Forward everything at full speed again."""
        self._line, self._rate, self._delay = "up", None, 0.0

    def delay(self, seconds: float) -> None:
        """Hold back each piece of data for so long: a round trip takes twice as much."""
        self._line, self._delay = "up", seconds

    def hold(self) -> None:
        """Half-open: connections stay, new ones are accepted, not a byte passes."""
        self._line = "held"

    def refuse(self) -> None:
        """Cut all connections with RST and refuse new ones."""
        self._line = "refused"
        self.reset()

    def slow(self, rate: float) -> None:
        """Let ``rate`` bytes a second pass on each connection and direction."""
        self._line, self._rate = "up", rate

    def reset(self) -> None:
        """Cut all connections with RST; new ones are served as before."""
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
            if self._line == "refused":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        self._wait_while_held()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            self._close(client)
            return
        server.settimeout(None)
        for end in (client, server):
            # The client may have been cut off meanwhile; the pumps find out.
            with contextlib.suppress(OSError):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(server)
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        self._close(client)
        self._close(server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK if self._rate is None else 4_096):
                self._wait_while_held()
                time.sleep(self._delay + (len(data) / self._rate if self._rate else 0.0))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One end is gone: take the other along, as a cut line would.
            self._close(source)
            self._close(sink)

    def _wait_while_held(self) -> None:
        while self._line == "held":
            time.sleep(0.02)

    def _close(self, end: socket.socket) -> None:
        with self._lock:
            self._open.discard(end)
        # While another thread reads from it, closing alone tells neither that thread nor the peer.
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
