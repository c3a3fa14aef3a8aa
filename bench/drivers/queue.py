"""Drives a worker whose jobs do nothing but append "accepted_ns started_ns" to ``bench:latency``.

``--rate 0`` fills the queue first and measures how fast a fresh worker drains it; otherwise jobs
arrive at a fixed rate at a worker that is warm. Deletes everything in the database.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis import Redis

from bench.drivers.common import cpu_seconds, percentile, report

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTES = "bench:latency"
WORKER_CORE, ENQUEUE_CORE = "0", "1"
TIMEOUT, WARM_UP_JOBS = 120.0, 200


class QueueLoad:
    """A worker command and an enqueue command on one database."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._redis = Redis.from_url(options.redis)
        self._redis.flushall()

    def _start(self, command: str, core: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["taskset", "-c", core, *shlex.split(command)],
            cwd=self._options.cwd,
            env={**os.environ, "REDIS_URL": self._options.redis},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @contextmanager
    def _worker(self) -> Iterator[int]:
        worker = self._start(self._options.worker, WORKER_CORE)
        try:
            yield worker.pid
        finally:
            os.killpg(worker.pid, signal.SIGTERM)
            try:
                worker.wait(8)
            except subprocess.TimeoutExpired:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()

    def _enqueue(self, number: int, rate: float) -> None:
        command = self._options.enqueue.format(n=number, rate=rate)
        if self._start(command, ENQUEUE_CORE).wait(TIMEOUT):
            raise RuntimeError(f"{command} failed")

    def _wait_for(self, number: int) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self._redis.llen(NOTES) < number:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {self._redis.llen(NOTES)} of {number} jobs have run")
            time.sleep(0.02)

    def _notes(self) -> list[tuple[int, int]]:
        """Return when each job was accepted and started, in nanoseconds."""
        pairs = (note.split() for note in self._redis.lrange(NOTES, 0, -1))
        return [(int(accepted), int(started)) for accepted, started in pairs]

    def drain(self, number: int) -> dict[str, Any]:
        """Return the rate at which a fresh worker drains a full queue, its start left out."""
        self._enqueue(number, 0)
        with self._worker() as pid:
            self._wait_for(number // 5)
            before, skipped = cpu_seconds(pid), int(self._redis.llen(NOTES))
            self._wait_for(number)
            used = cpu_seconds(pid) - before
        started = sorted(start for _, start in self._notes())
        seconds = (started[-1] - started[skipped]) / 1e9
        return {
            "jobs_per_second": round((number - skipped) / seconds, 1),
            "cpu_ms_per_job": round(used * 1000 / (number - skipped), 4),
        }

    def latency(self, number: int, rate: float) -> dict[str, Any]:
        """Return the time from accepted to started at a fixed rate."""
        with self._worker():
            self._enqueue(WARM_UP_JOBS, 0)
            self._wait_for(WARM_UP_JOBS)
            self._redis.delete(NOTES)
            self._enqueue(number, rate)
            self._wait_for(number)
        waits = [(started - accepted) / 1e6 for accepted, started in self._notes()]
        return {"p50_ms": percentile(waits, 50), "p99_ms": percentile(waits, 99)}


def main() -> None:
    """Load and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--redis", "--worker", "--enqueue", "--cwd"):
        parser.add_argument(name, required=True)
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0)
    options = parser.parse_args()
    load = QueueLoad(options)
    report(load.latency(options.n, options.rate) if options.rate else load.drain(options.n))


if __name__ == "__main__":
    main()
