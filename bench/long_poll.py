"""Long polls: how many wait at what cost, and how soon each hears of its change.

``long_poll.py --base URL --pid N --redis URL --ids FILE --channel … --payload …``: one connection
for each id holds ``?wait=30``; then each job's change is published, and the time until the answer
is there is what counts. Prints one JSON object, as the drivers of the peer do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from redis.asyncio import Redis

SENT = re.compile(rb'"t":"(\d+)"')


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--base", "--redis", "--ids", "--channel", "--payload"):
        parser.add_argument(name, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--polls", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=500)
    asked = parser.parse_args()
    ids = Path(asked.ids).read_text().split()[: asked.polls]
    before = memory(asked.pid)
    waiting = []
    for job_id in ids:
        waiting.append(asyncio.create_task(poll(asked.base, job_id)))
        await asyncio.sleep(1 / asked.rate)
    await asyncio.sleep(2)
    held = memory(asked.pid) - before
    if any(task.done() for task in waiting):
        raise SystemExit("a long poll did not wait")
    await publish(asked, ids)
    milliseconds = sorted(await asyncio.wait_for(asyncio.gather(*waiting), 30))
    found = {
        "polls": len(ids),
        "p50_ms": milliseconds[len(ids) // 2],
        "p99_ms": milliseconds[len(ids) * 99 // 100],
        "rss_kb_per_poll": held / 1024 / len(ids),
    }
    print(json.dumps(found))


async def poll(base: str, job_id: str) -> float:
    """Milliseconds from the change to the answer."""
    place = urlsplit(base)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    path = f"/v1/download/status/{job_id}?wait=30&since=1"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    now = time.monotonic_ns()
    writer.close()
    sent = SENT.search(answer)
    if not answer.startswith(b"HTTP/1.1 200") or sent is None:
        raise SystemExit(f"a long poll was answered {answer[:200]!r}")
    return (now - int(sent[1])) / 1e6


async def publish(asked: argparse.Namespace, ids: list[str]) -> None:
    store = Redis.from_url(asked.redis)
    began = time.monotonic()
    for number, job_id in enumerate(ids):
        await asyncio.sleep(began + number / asked.rate - time.monotonic())
        message = asked.payload.replace("{id}", job_id).replace("{n}", str(number))
        message = message.replace("{t}", str(time.monotonic_ns()))
        await store.publish(asked.channel.replace("{id}", job_id), message)
    await store.aclose()


def memory(pid: int) -> int:
    """Bytes of a process and its children."""
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    asyncio.run(main())
