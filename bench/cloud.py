"""A proxy that makes the local S3 server as far away and as fast as one in a cloud.

Each request takes ``latency`` seconds longer, each connection carries ``rate`` bytes a second, and
each copied part (UploadPartCopy) takes as long as ``copy_rate`` says. Bytes are spliced inside the
kernel, so that the proxy costs the measured programs little CPU.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Self

MB: Final = 1_000_000
MAX_HEAD: Final = 64 * 1024
CHUNK: Final = 1024 * 1024
IDLE_TIMEOUT: Final = 120.0
_F_SETPIPE_SZ: Final = 1031
_COPY_RANGE: Final = re.compile(rb"bytes=(\d+)-(\d+)")


class CloudProxy:
    """Runs the proxy in a process of its own, in front of ``port`` on 127.0.0.1."""

    def __init__(
        self,
        port: int,
        *,
        latency: float = 0.030,
        rate: float = 90 * MB,
        copy_rate: float = 75 * MB,
    ) -> None:
        options = ("--latency", latency, "--rate", rate, "--copy-rate", copy_rate)
        self._command = [sys.executable, "-m", "bench.cloud", str(port), *map(str, options)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Head:
    """The head of a request or response: its first line and its headers."""

    def __init__(self, raw: bytes) -> None:
        self.first_line, *lines = raw.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def length(self) -> int:
        return int(self.headers.get(b"content-length", b"0"))

    @property
    def is_chunked(self) -> bool:
        return self.headers.get(b"transfer-encoding", b"").lower() == b"chunked"

    @property
    def copied_bytes(self) -> int:
        """Return the size of the copied range; 0 when the request is no UploadPartCopy."""
        found = _COPY_RANGE.fullmatch(self.headers.get(b"x-amz-copy-source-range", b""))
        return int(found[2]) - int(found[1]) + 1 if found else 0


class Stream:
    """One side of a connection, with what was read of it too early."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(IDLE_TIMEOUT)
        self.socket = connection
        self._buffer = b""

    def read_head(self) -> bytes:
        """Return the next head with its blank line; empty at the end of the stream."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(CHUNK)
            if not data or len(self._buffer) > MAX_HEAD:
                return b""
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            data = self.socket.recv(CHUNK)
            if not data:
                raise ConnectionError("the stream ended within a chunked body")
            self._buffer += data
        line, newline, self._buffer = self._buffer.partition(b"\n")
        return line + newline

    def take(self, limit: int) -> bytes:
        taken, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return taken


class Pipe:
    """Moves bytes between two sockets at a bounded rate, without copying them into the process."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._read, self._write = os.pipe()
        with suppress(OSError):
            import fcntl

            fcntl.fcntl(self._write, _F_SETPIPE_SZ, CHUNK)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)

    def move(self, source: Stream, target: Stream, length: int) -> None:
        """Move exactly ``length`` bytes. Raises ``ConnectionError`` when the source ends early."""
        began, left = time.monotonic(), length
        early = source.take(left)
        target.socket.sendall(early)
        left -= len(early)
        # splice(2) on a socket with a timeout would not wait: it is non-blocking in the kernel.
        source.socket.setblocking(True)
        target.socket.setblocking(True)
        while left:
            moved = os.splice(source.socket.fileno(), self._write, min(left, CHUNK))
            if not moved:
                raise ConnectionError("the body ended early")
            left -= moved
            while moved:
                moved -= os.splice(self._read, target.socket.fileno(), moved)
            ahead = (length - left) / self._rate - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
        source.socket.settimeout(IDLE_TIMEOUT)
        target.socket.settimeout(IDLE_TIMEOUT)


class Exchange(threading.Thread):
    """One client connection and its connection to the server, request by request."""

    def __init__(self, client: socket.socket, options: argparse.Namespace) -> None:
        super().__init__(daemon=True)
        self._client = Stream(client)
        self._options = options

    def run(self) -> None:
        pipe = Pipe(self._options.rate)
        try:
            with socket.create_connection(("127.0.0.1", self._options.port), 10) as connection:
                server = Stream(connection)
                while self._one(server, pipe):
                    pass
        except OSError:
            pass  # Either side closed; the other one learns it by its own connection.
        finally:
            pipe.close()
            self._client.socket.close()

    def _one(self, server: Stream, pipe: Pipe) -> bool:
        raw = self._client.read_head()
        if not raw:
            return False
        began, request = time.monotonic(), Head(raw)
        if b"expect" in request.headers:
            self._client.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            raw = re.sub(rb"\r\n[Ee]xpect:[^\r]*", b"", raw)
        server.socket.sendall(raw)
        self._body(request, self._client, server, pipe)
        raw_response = server.read_head()
        if not raw_response:
            return False
        response = Head(raw_response)
        copied = request.copied_bytes / self._options.copy_rate
        due = began + self._options.latency + copied
        time.sleep(max(0.0, due - time.monotonic()))
        self._client.socket.sendall(raw_response)
        status = response.first_line.split(b" ")[1]
        if not request.first_line.startswith(b"HEAD ") and status not in (b"204", b"304"):
            self._body(response, server, self._client, pipe)
        return response.headers.get(b"connection", b"").lower() != b"close"

    def _body(self, head: Head, source: Stream, target: Stream, pipe: Pipe) -> None:
        if not head.is_chunked:
            pipe.move(source, target, head.length)
            return
        while True:
            line = source.read_line()
            target.socket.sendall(line)
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            pipe.move(source, target, size + 2)
        while (line := source.read_line()) != b"\r\n":
            target.socket.sendall(line)
        target.socket.sendall(line)


def main(arguments: Iterable[str] | None = None) -> None:
    """Serve until terminated; print the port first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="port of the S3 server on 127.0.0.1")
    parser.add_argument("--latency", type=float, default=0.030, help="seconds per request")
    parser.add_argument("--rate", type=float, default=90 * MB, help="bytes/s of a connection")
    parser.add_argument("--copy-rate", type=float, default=75 * MB, help="bytes/s of a copied part")
    options = parser.parse_args(arguments if arguments is None else list(arguments))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            Exchange(client, options).start()


if __name__ == "__main__":
    main()
