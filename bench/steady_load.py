"""Runs a steady rate of downloads through the whole system: ``python -m bench.steady_load``.

By default 20,000 an hour for 20 minutes. Jobs start at fixed times, however long earlier ones take,
and each has other small files, so every archive is built. Prints latencies, and what grows. Exits
with 1 if a request or a job fails.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from redis import Redis

from bench.load import UNLIMITED, WORKER_NICE
from common.job_store.client import open_client
from common.job_store.state_log_backlog import read_backlogs
from stack.sample_catalog import BUCKET, s3_client
from stack.system import System

FIRST_FILE: Final = 20_000
FILES: Final = 2_000
FILES_PER_JOB: Final = 5
SIZES: Final = (20_000, 200_000)
USERS: Final = 200
SAMPLE_INTERVAL: Final = 10.0
#: Seconds that a job may take.
JOB_TIMEOUT: Final = 120.0
MB: Final = 1_000_000


@dataclass
class Measured:
    """Everything that was measured. Times are seconds, sizes megabytes."""

    accepts: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    #: By what grows, one value per sample.
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add_sample(self, values: Iterable[tuple[str, float]]) -> None:
        """Add the values of one moment."""
        for name, value in values:
            self.samples.setdefault(name, []).append(value)


class Load:
    """Starts jobs at fixed times and waits for their ends."""

    def __init__(self, http: httpx.AsyncClient, measured: Measured) -> None:
        self._http = http
        self._measured = measured
        self._rng = random.Random(1)

    async def run(self, *, per_hour: int, seconds: float) -> None:
        """Return when all jobs have ended."""
        interval, began = 3_600 / per_hour, time.monotonic()
        jobs = []
        for number in range(int(seconds / interval)):
            await asyncio.sleep(began + number * interval - time.monotonic())
            jobs.append(asyncio.create_task(self._job()))
        await asyncio.gather(*jobs)

    async def _job(self) -> None:
        started = time.monotonic()
        try:
            await asyncio.wait_for(self._download(), JOB_TIMEOUT)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            self._measured.failures.append(repr(error))
        else:
            self._measured.durations.append(time.monotonic() - started)

    async def _download(self) -> None:
        file_ids = self._rng.sample(range(FIRST_FILE, FIRST_FILE + FILES), FILES_PER_JOB)
        headers = {"X-User-Id": f"user-{self._rng.randrange(USERS)}"}
        started = time.monotonic()
        response = await self._http.post(
            "/v1/download/initiate", json={"file_ids": file_ids}, headers=headers
        )
        self._measured.accepts.append(time.monotonic() - started)
        job = response.raise_for_status().json()
        while job["status"] in ("queued", "processing"):
            found = await self._http.get(
                f"/v1/download/status/{job['jobId']}",
                params={"wait": 30, "since": job["version"]},
            )
            job = found.raise_for_status().json()
        if job["status"] != "completed":
            raise ValueError(f"{job['jobId']} ended as {job['status']}: {job['errorCode']}")


async def sample_forever(system: System, redis: Redis, measured: Measured) -> None:
    """Record what grows, until cancelled."""
    while True:
        measured.add_sample(await asyncio.to_thread(lambda: list(_sample(system, redis))))
        await asyncio.sleep(SAMPLE_INTERVAL)


def _sample(system: System, redis: Redis) -> Iterable[tuple[str, float]]:
    for name in ("api", *system.workers):
        parent = psutil.Process(system.processes[name].pid)
        processes = [parent, *parent.children(recursive=True)]
        yield f"memory of {name}, MB", sum(each.memory_info().rss for each in processes) / MB
    info: Any = redis.info()
    yield "memory of Valkey, MB", info["used_memory"] / MB
    yield "connections to Valkey", info["connected_clients"]
    for group, backlog in read_backlogs(redis, ("webhooks", "history")).items():
        yield f"lag of {group}, s", backlog.seconds


def fill(endpoint: str) -> None:
    """Put the files of all jobs."""
    s3, rng = s3_client(endpoint), random.Random(2)
    for number in range(FILES):
        content = rng.randbytes(rng.randint(*SIZES))
        s3.put_object(Bucket=BUCKET, Key=str(FIRST_FILE + number), Body=content)


async def measure(system: System, *, per_hour: int, seconds: float) -> Measured:
    """Run the load against a system."""
    measured = Measured()
    limits = httpx.Limits(max_connections=500)
    with open_client(system.redis_url, timeout=5) as redis:
        async with httpx.AsyncClient(base_url=system.base_url, limits=limits, timeout=60) as http:
            sampling = asyncio.create_task(sample_forever(system, redis, measured))
            await Load(http, measured).run(per_hour=per_hour, seconds=seconds)
            # One more sample with everything that the last jobs left to do.
            await asyncio.sleep(2 * SAMPLE_INTERVAL)
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling
    return measured


def report(measured: Measured) -> None:
    """Print two tables, and what failed."""
    for failure in measured.failures[:20]:
        print(failure, file=sys.stderr)
    print("\n| seconds | jobs | median | p99 | slowest |\n|---|---|---|---|---|")
    for name, values in (
        ("created: request to response", measured.accepts),
        ("completed: request to archive", measured.durations),
    ):
        cuts = statistics.quantiles(values, n=100)
        median, p99, slowest = statistics.median(values), cuts[98], max(values)
        print(f"| {name} | {len(values):,} | {median:.3f} | {p99:.3f} | {slowest:.3f} |")
    print("\n| | after 1 min | at the end | highest |\n|---|---|---|---|")
    for name, values in measured.samples.items():
        early = values[min(len(values) - 1, round(60 / SAMPLE_INTERVAL))]
        print(f"| {name} | {early:.1f} | {values[-1]:.1f} | {max(values):.1f} |")
    print(f"\n{len(measured.failures)} failures")


def main() -> int:
    """Start the system, run the load, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-hour", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="longhaul-steady-") as state,
        System(
            Path(state), workers=options.workers, worker_nice=WORKER_NICE, files=(), env=UNLIMITED
        ) as system,
    ):
        fill(system.s3_endpoint)
        load = measure(system, per_hour=options.per_hour, seconds=options.minutes * 60)
        measured = asyncio.run(load)
    report(measured)
    return 1 if measured.failures else 0


if __name__ == "__main__":
    sys.exit(main())
