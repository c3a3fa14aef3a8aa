"""Holds many long polls (``?wait=30``), changes each job once, and measures time to response."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bench.drivers.common import (
    argument_parser,
    header_lines,
    host_and_port,
    load_headers,
    percentile,
    report,
    resident_kb,
)

SENT = re.compile(rb'"t":"(\d+)"')


async def measure(options: Any) -> dict[str, Any]:
    """Return the time from a change to the response, and the memory of a waiting poll."""
    ids = options.ids.read_text().split()[: options.polls]
    lines = header_lines(load_headers(options.headers)[0])
    before = resident_kb(options.pid)
    polls = []
    for job_id in ids:
        polls.append(asyncio.create_task(_poll(options.base, job_id, lines)))
        await asyncio.sleep(1 / options.rate)
    await asyncio.sleep(2)
    held = resident_kb(options.pid) - before
    if any(poll.done() for poll in polls):
        raise RuntimeError("a long poll did not wait")
    await _publish(options, ids)
    milliseconds = await asyncio.wait_for(asyncio.gather(*polls), 30)
    return {
        "p50_ms": percentile(milliseconds, 50),
        "p99_ms": percentile(milliseconds, 99),
        "memory_kb_per_poll": round(held / len(ids), 2),
    }


async def _poll(base: str, job_id: str, lines: str) -> float:
    reader, writer = await asyncio.open_connection(*host_and_port(base))
    path = f"/v1/download/status/{job_id}?wait=30&since=1"
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}Connection: close\r\n\r\n".encode()
    )
    response = await reader.read()
    now = time.monotonic_ns()
    writer.close()
    sent = SENT.search(response)
    if not response.startswith(b"HTTP/1.1 200") or sent is None:
        raise RuntimeError(f"a long poll got {response[:200]!r}")
    return (now - int(sent[1])) / 1e6


async def _publish(options: Any, ids: list[str]) -> None:
    redis = Redis.from_url(options.redis)
    began = time.monotonic()
    for number, job_id in enumerate(ids):
        await asyncio.sleep(max(0.0, began + number / options.rate - time.monotonic()))
        message = options.payload.replace("{id}", job_id).replace("{n}", str(number))
        message = message.replace("{t}", str(time.monotonic_ns()))
        await redis.publish(options.channel.replace("{id}", job_id), message)
    await redis.aclose()


def main() -> None:
    """Load and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--ids", type=Path, required=True, help="file of job ids, one a line")
    for name in ("--redis", "--channel", "--payload"):
        parser.add_argument(name, required=True)
    parser.add_argument("--polls", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=500)
    report(asyncio.run(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
