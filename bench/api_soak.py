"""Keeps thousands of streams open while jobs end and API processes restart.

``python -m bench.api_soak --streams 5000 --minutes 10`` prints a line every ten seconds. It passes
(exit code 0) when every client got the terminal event of every job that it watched, no version came
out of order, and the memory of the API is back to where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from bench.servers import ROOT, SETTINGS, make_jobs, open_job_store, responds
from common.jobs.model import Artifact, Progress
from stack.process import Process, free_port, wait_until
from stack.services import start_valkey

ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")
TERMINAL = {"completed", "failed", "cancelled", "expired"}
#: Seconds between two restarts; SIGTERM, SIGHUP and SIGKILL alternate.
RESTART_EVERY = 45.0
#: Seconds within which every client must get the terminal event of its last job.
SETTLE = 60.0


class Client:
    """Watches one job after the other and reconnects as an EventSource does."""

    def __init__(self, soak: Soak) -> None:
        self.soak = soak
        self.job_id = ""
        self.version = 0
        self.done = True

    def watch(self, job_id: str) -> None:
        self.job_id, self.version, self.done = job_id, 0, False
        self.reconnect(0)

    def reconnect(self, after: float) -> None:
        self.soak.loop.call_later(after, lambda: self.soak.loop.create_task(self._connect()))

    async def _connect(self) -> None:
        try:
            await self.soak.loop.create_connection(
                lambda: Connection(self), "127.0.0.1", self.soak.port
            )
        except OSError:
            self.reconnect(random.uniform(0.5, 2))

    def receive(self, version: int, name: str) -> None:
        self.soak.counts[name] += 1
        if version < self.version:
            self.soak.counts["out of order"] += 1
        self.version = version
        if name in TERMINAL and not self.done:
            self.done = True
            self.soak.ended(self)


class Connection(asyncio.Protocol):
    """One event stream of a client's job."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._job_id = client.job_id
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._client.soak.counts["connections"] += 1
        version = self._client.version
        last_event_id = f"Last-Event-ID: {version}\r\n" if version else ""
        path = f"/v1/download/subscribe/{self._job_id}"
        transport.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{last_event_id}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            # 503 while the server is full or the store is slow: come back later.
            self._client.soak.counts[f"rejected with {data[9:12].decode()}"] += 1
            self._transport.close()
            return
        *events, self._buffer = (self._buffer + data).split(b"\n\n")
        for event in events:
            fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
            if b"id" in fields and self._job_id == self._client.job_id:
                self._client.receive(int(fields[b"id"]), fields[b"event"].decode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        client = self._client
        if self._job_id == client.job_id and not client.done:
            client.soak.counts["reconnects"] += 1
            client.reconnect(random.uniform(1.5, 2.5))


class Soak:
    """The clients, the jobs they watch, and the tasks that end jobs and restart processes."""

    def __init__(self, api: Process, port: int, redis_url: str, streams: int, rate: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.port = port
        self.counts: Counter[str] = Counter()
        self._api = psutil.Process(api.pid)
        self._url = redis_url
        self._store = open_job_store(redis_url)
        self._rate = rate
        self._over = False
        self._clients = [Client(self) for _ in range(streams)]
        self._spare: list[str] = []

    async def run(self, seconds: float) -> bool:
        """Run for ``seconds``; return whether every check passed."""
        before = self._memory()
        for client, job_id in zip(
            self._clients, await self._make_jobs(len(self._clients)), strict=True
        ):
            client.watch(job_id)
            await asyncio.sleep(0.001)
        tasks = [
            asyncio.create_task(work()) for work in (self._end_jobs, self._restart, self._report)
        ]
        await asyncio.sleep(seconds)
        self._over = True
        tasks[1].cancel()
        await tasks[0]
        waiting = await self._end_all()
        tasks[2].cancel()
        await asyncio.sleep(8)
        after = self._memory()
        print(f"memory before {before:.0f} MB, after {after:.0f} MB; {dict(self.counts)}")
        print(f"clients without their terminal event: {waiting}")
        return not waiting and not self.counts["out of order"] and after < before * 1.25 + 10

    def ended(self, client: Client) -> None:
        """Give a client whose job has ended another one."""
        if not self._over and self._spare:
            client.watch(self._spare.pop())

    async def _end_jobs(self) -> None:
        while not self._over:
            began = time.monotonic()
            if len(self._spare) < 200:
                self._spare += await self._make_jobs(200)
            for client in random.sample(self._clients, max(1, round(self._rate))):
                if not client.done:
                    await asyncio.to_thread(self._advance, client.job_id)
            await asyncio.sleep(max(0, 1 - (time.monotonic() - began)))

    def _advance(self, job_id: str) -> None:
        """Claim a job and end it, or return it to the queue in one of five cases."""
        claim = self._store.claim(job_id, "w")
        if claim is None:
            return
        self._store.heartbeat(claim.lease, {"progress": 50})
        if random.random() < 0.2:
            self._store.return_to_queue(claim.lease)
        else:
            self._store.complete(claim.lease, ARTIFACT, Progress())

    async def _restart(self) -> None:
        while True:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
                await asyncio.sleep(RESTART_EVERY)
                victim = self._api if number == signal.SIGHUP else self._api.children()[0]
                print(f"{number.name} to {'the master' if victim is self._api else 'a worker'}")
                os.kill(victim.pid, number)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(10)
            live = sum(not client.done for client in self._clients)
            print(f"{live} watching, {self._memory():.0f} MB, {dict(self.counts)}", flush=True)

    async def _end_all(self) -> int:
        """End every job; return how many clients did not get the terminal event in time."""
        deadline = time.monotonic() + SETTLE
        while waiting := [client for client in self._clients if not client.done]:
            if time.monotonic() > deadline:
                break
            for client in waiting:
                await asyncio.to_thread(self._advance, client.job_id)
            await asyncio.sleep(2)
        return len(waiting)

    async def _make_jobs(self, count: int) -> list[str]:
        return await asyncio.to_thread(make_jobs, self._url, count)

    def _memory(self) -> float:
        """Return the resident memory of the API's processes in MB."""
        total = 0
        for process in (self._api, *self._api.children()):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 1e6


async def main() -> bool:
    """Start the store and the API, run, and return whether every check passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=20, help="jobs that end per second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        valkey = start_valkey(Path(folder) / "valkey")
        port = free_port()
        env = {**SETTINGS, "REDIS_URL": valkey.url, "PORT": str(port), "WEB_CONCURRENCY": "2"}
        command = [sys.executable, "-m", "gunicorn", "-c", "api/gunicorn_conf.py", "api.wsgi:app"]
        api = Process("api", command, env=env, cwd=ROOT, output=Path(folder) / "log")
        try:
            wait_until(lambda: responds(port, "/health/live"), "the API", 60)
            await asyncio.sleep(10)
            soak = Soak(api, port, valkey.url, options.streams, options.rate)
            passed = await soak.run(options.minutes * 60)
        finally:
            api.stop(20)
            valkey.process.stop()
    print(json.dumps({"passed": passed}))
    return passed


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
