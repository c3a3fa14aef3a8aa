"""Opens many event streams, publishes changes, and measures how soon each client gets its own.

A change carries the time of sending (CLOCK_MONOTONIC, ns) as the member ``t``.
"""

from __future__ import annotations

import asyncio
import gc
import random
import re
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bench.drivers.common import (
    argument_parser,
    cpu_seconds,
    header_lines,
    host_and_port,
    load_headers,
    percentile,
    report,
    resident_kb,
)

PATH = "/v1/download/subscribe/"
SENT = re.compile(rb'"t":\s*"?(\d{9,})')
#: Streams that are being opened at the same time.
OPENING = 64
#: Seconds after which memory is stable, and that are published but not measured.
SETTLE, WARM_UP = 1.5, 1.0


class Stream(asyncio.Protocol):
    """One client of one job."""

    def __init__(self, fan_out: FanOut, request: bytes) -> None:
        self._fan_out = fan_out
        self._request = request
        self._began = time.perf_counter()
        self.opened: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport  # Without a reference the connection would be closed.
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.opened.done():
            if data[9:12] != b"200":
                self.opened.set_exception(RuntimeError(f"a stream got {data[:200]!r}"))
                return
            self.opened.set_result((time.perf_counter() - self._began) * 1000)
        for sent in SENT.findall(data):
            self._fan_out.latencies.append((now - int(sent)) / 1e6)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"a stream closed while it opened: {exc}"))


class FanOut:
    """All streams, and the publisher of what they get."""

    def __init__(self, options: Any, ids: list[str]) -> None:
        self._options = options
        self._ids = ids
        self._streams: list[Stream] = []
        self.latencies: list[float] = []

    async def open(self) -> list[float]:
        """Open a stream for every job; return how long each took, in milliseconds."""
        host, port = host_and_port(self._options.base)
        lines = header_lines(load_headers(self._options.headers)[0])
        slots = asyncio.Semaphore(OPENING)

        async def open_one(job_id: str) -> float:
            head = f"GET {PATH}{job_id} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}"
            request = f"{head}Accept: text/event-stream\r\n\r\n".encode()
            async with slots:
                loop = asyncio.get_running_loop()
                _, stream = await loop.create_connection(lambda: Stream(self, request), host, port)
                self._streams.append(stream)
                return await asyncio.wait_for(stream.opened, 60)

        return await asyncio.gather(*(open_one(job_id) for job_id in self._ids))

    async def publish(self, first: int, number: int) -> None:
        """Publish changes ``first`` and the following ones at the rate, without waiting for any."""
        options, redis = self._options, Redis.from_url(self._options.redis)
        order = random.Random(1).sample(self._ids, len(self._ids))
        began = time.perf_counter()
        pipeline = redis.pipeline(transaction=False)
        for k in range(first, first + number):
            wait = began + (k - first) / options.rate - time.perf_counter()
            if wait > 0:
                if len(pipeline):
                    await pipeline.execute()
                await asyncio.sleep(wait)
            job_id = order[k % len(order)]
            message = options.payload.replace("{id}", job_id).replace("{n}", str(k))
            message = message.replace("{t}", str(time.monotonic_ns()))
            pipeline.publish(options.channel.replace("{id}", job_id), message)
        await pipeline.execute()
        await redis.aclose()

    async def wait_for(self, number: int) -> None:
        """Wait until so many changes were delivered, for at most 5 s."""
        for _ in range(50):
            if len(self.latencies) >= number:
                return
            await asyncio.sleep(0.1)
        raise RuntimeError(f"{number - len(self.latencies)} of {number} changes were not delivered")


async def measure(options: Any) -> dict[str, Any]:
    """Return the figures of opening, of memory and, with ``--rate``, of delivery."""
    ids = options.ids.read_text().split()[: options.streams]
    holder = options.memory_pid or options.pid
    fan_out = FanOut(options, ids)
    memory, cpu = resident_kb(holder), cpu_seconds(options.pid)
    opened = await fan_out.open()
    figures = {
        "open_p50_ms": percentile(opened, 50),
        "open_cpu_ms": round((cpu_seconds(options.pid) - cpu) * 1000 / len(ids), 4),
    }
    await asyncio.sleep(SETTLE)
    held = resident_kb(holder)
    figures["memory_mb"] = round(held / 1024, 1)
    figures["memory_kb_per_stream"] = round((held - memory) / len(ids), 2)
    if not options.rate:
        return figures
    warm_up = int(options.rate * WARM_UP)
    await fan_out.publish(0, warm_up)
    await fan_out.wait_for(warm_up)
    fan_out.latencies.clear()
    changes = int(options.rate * options.seconds)
    cpu = cpu_seconds(options.pid)
    await fan_out.publish(warm_up, changes)
    await fan_out.wait_for(changes)
    return figures | {
        "event_p50_ms": percentile(fan_out.latencies, 50),
        "event_p99_ms": percentile(fan_out.latencies, 99),
        "event_cpu_ms": round((cpu_seconds(options.pid) - cpu) * 1000 / changes, 4),
    }


def main() -> None:
    """Load and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--ids", type=Path, required=True, help="file of job ids, one a line")
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=0, help="changes a second; 0: none")
    parser.add_argument("--redis", help="URL of the server's store")
    parser.add_argument("--channel", help="channel of a job, with {id}")
    parser.add_argument("--payload", help="a change, with {id}, {n} and {t}")
    parser.add_argument("--memory-pid", type=int, help="process tree whose memory counts")
    options = parser.parse_args()
    gc.disable()
    report(asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
