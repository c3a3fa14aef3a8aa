"""Posts jobs: ``--mode rate`` at a fixed rate for latency, ``--mode saturation`` with wrk.

In rate mode the loop is open: a request that finds no free connection waits, and its wait counts.
Every request asks for another file, so that none is folded into an earlier job.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from itertools import count
from typing import Any

from bench.drivers.common import (
    argument_parser,
    cpu_seconds,
    header_lines,
    host_and_port,
    load_headers,
    percentile,
    report,
)
from bench.drivers.wrk import lua_table, run_wrk

PATH = "/v1/download/initiate"
FIRST_FILE = 1_000_000


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, load: OpenLoop) -> None:
        self._load = load
        self._buffer = b""
        self._due = 0.0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at ``due`` (``time.perf_counter``)."""
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        if len(body) < int(length):
            return
        status, self._buffer = int(head[9:12]), b""
        self._load.done(self, status, (time.perf_counter() - self._due) * 1000)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.fail(ConnectionError(f"the server closed a connection: {exc}"))


class OpenLoop:
    """Sends requests when they are due, whatever became of earlier ones."""

    def __init__(self, requests: list[bytes], rate: float, total: int) -> None:
        self._requests, self._rate, self._total = requests, rate, total
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._finished = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []

    async def run(self, host: str, port: int, connections: int) -> None:
        """Send all requests and wait for the responses, for at most 30 s after the last one."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: Connection(self), host, port)
            self._idle.append(connection)
        began = time.perf_counter()
        for number in range(self._total):
            due = began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            request = self._requests[number]
            if self._idle:
                self._idle.pop().send(request, time.perf_counter())
            else:
                self._waiting.append((request, time.perf_counter()))
        await asyncio.wait_for(self._finished, 30)

    def done(self, connection: Connection, status: int, milliseconds: float) -> None:
        """Record a response and reuse its connection."""
        if status != 202:
            self.fail(RuntimeError(f"a job was not accepted: {status}"))
        self.latencies.append(milliseconds)
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)
        if len(self.latencies) == self._total and not self._finished.done():
            self._finished.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the run with an error, unless it has ended."""
        if not self._finished.done():
            self._finished.set_exception(error)


async def at_a_rate(options: Any) -> dict[str, Any]:
    """Return the latencies at ``--rate`` requests a second."""
    host, port = host_and_port(options.base)
    headers = [header_lines(each) for each in load_headers(options.headers)]
    total = int(options.rate * options.seconds)
    requests = []
    for number, file_id in zip(range(total), count(FIRST_FILE), strict=False):
        body = f'{{"file_ids":[{file_id},70001,70002]}}'
        head = f"POST {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        head += f"{headers[number % len(headers)]}Content-Length: {len(body)}\r\n\r\n"
        requests.append((head + body).encode())
    load = OpenLoop(requests, options.rate, total)
    before = cpu_seconds(options.pid)
    await load.run(host, port, options.connections)
    used = cpu_seconds(options.pid) - before
    return {
        "p50_ms": percentile(load.latencies, 50),
        "p99_ms": percentile(load.latencies, 99),
        "cpu_ms_per_request": round(used * 1000 / total, 4),
    }


def at_saturation(options: Any) -> dict[str, Any]:
    """Return how many requests a second the server takes."""
    headers = load_headers(options.headers)
    tables = ",\n".join(lua_table({"Content-Type": "application/json", **each}) for each in headers)
    script = [
        f"local headers = {{{tables}}}",
        # Each run of wrk begins at another file: the warm-up must not make the jobs of the run.
        f"local n = {FIRST_FILE} + (os.time() % 90) * 1000000",
        "request = function()",
        "  n = n + 1",
        "  local body = string.format('{\"file_ids\":[%d,70001,70002]}', n)",
        f'  return wrk.format("POST", "{PATH}", headers[n % #headers + 1], body)',
        "end",
    ]
    return run_wrk(
        options.base,
        script,
        connections=options.connections,
        seconds=options.seconds,
        pid=options.pid,
    )


def main() -> None:
    """Load and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--mode", choices=["rate", "saturation"], required=True)
    parser.add_argument("--rate", type=float, default=200)
    options = parser.parse_args()
    gc.disable()
    rate = options.mode == "rate"
    report(asyncio.run(at_a_rate(options)) if rate else at_saturation(options))


if __name__ == "__main__":
    main()
