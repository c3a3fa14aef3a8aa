"""Prints what an installation needs for a number of downloads an hour.

Run ``python -m bench.capacity``.

The model multiplies measured costs (docs/capacity.md, docs/performance.md) with a rate; it runs
nothing. It reads the same settings as the API and the workers, so ``JOB_TTL=21600 python -m
bench.capacity`` shows what a shorter ``JOB_TTL`` saves.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from common.bootstrap import DATABASE_CONNECTIONS
from common.settings import Settings
from worker.attempt.heartbeat import PROGRESS_INTERVAL

RATES: Final = (1_000, 100_000, 1_000_000)

# Measured costs. Seconds of CPU:
API_CREATE: Final = 1 / 2_600
API_OPEN_STREAM: Final = 0.000_7
API_EVENT: Final = 0.000_14
VALKEY_JOB: Final = 0.000_6
VALKEY_HEARTBEAT: Final = 0.000_08
#: One scan of one worker over all partitions.
VALKEY_SWEEP: Final = 0.002_3
# Bytes:
JOB_OF_TEN_FILES: Final = 4_200
FURTHER_FILE: Final = 140
STATE_CHANGES: Final = 1_300
HISTORY_OF_JOB: Final = 2_700
#: Memory of a worker process, and of each running archive of files of a few megabytes.
WORKER_MEMORY: Final = 120e6
ARCHIVE_MEMORY: Final = 10e6
# Connections of a process:
WORKER_TO_VALKEY: Final = 17
WORKER_TO_POSTGRES: Final = 1
API_TO_VALKEY: Final = 20
#: Share of its capacity that a process should use.
UTILIZATION: Final = 0.7
SECONDS_PER_MONTH: Final = 30 * 86_400
#: Defaults of the servers: maxclients, and max_connections without those that it reserves.
MAX_CLIENTS: Final = 10_000
MAX_CONNECTIONS: Final = 97


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What the downloads are like."""

    per_hour: int
    seconds_per_job: float = 30.0
    files_per_job: int = 10
    #: Clients that watch each job by a stream.
    watchers: int = 2


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a workload needs with given settings."""

    workload: Workload
    settings: Settings

    @property
    def rate(self) -> float:
        """Downloads per second."""
        return self.workload.per_hour / 3_600

    @property
    def running(self) -> float:
        """Jobs that run at the same time, by Little's law."""
        return self.rate * self.workload.seconds_per_job

    @property
    def workers(self) -> int:
        return max(2, math.ceil(self.running / self.settings.worker_concurrency / UTILIZATION))

    @property
    def worker_memory(self) -> float:
        """Memory of all workers."""
        slots = self.workers * self.settings.worker_concurrency
        return self.workers * WORKER_MEMORY + slots * ARCHIVE_MEMORY

    @property
    def api_cpu(self) -> float:
        """Cores. Each progress report of a running job is an event for each of its watchers."""
        interval = max(PROGRESS_INTERVAL, self.settings.worker_heartbeat)
        events = self.workload.seconds_per_job / interval
        watcher = API_OPEN_STREAM + events * API_EVENT
        return self.rate * (API_CREATE + self.workload.watchers * watcher)

    @property
    def api_processes(self) -> int:
        return max(2, math.ceil(self.api_cpu / UTILIZATION))

    @property
    def valkey_cpu(self) -> float:
        """Cores."""
        heartbeats = self.running / self.settings.worker_heartbeat
        sweeps = self.workers / self.settings.sweep_interval
        return self.rate * VALKEY_JOB + heartbeats * VALKEY_HEARTBEAT + sweeps * VALKEY_SWEEP

    @property
    def job_lifetime(self) -> int:
        """Seconds for which the job store keeps a completed job: first as completed, then as
        expired."""
        return self.settings.archive_ttl + self.settings.job_ttl

    @property
    def valkey_memory(self) -> float:
        job = JOB_OF_TEN_FILES + (self.workload.files_per_job - 10) * FURTHER_FILE
        # State changes are deleted a few seconds after they were read.
        return self.rate * (self.job_lifetime * job + 10 * STATE_CHANGES)

    @property
    def valkey_connections(self) -> int:
        return self.workers * WORKER_TO_VALKEY + self.api_processes * API_TO_VALKEY

    @property
    def postgres_connections(self) -> int:
        return self.workers * WORKER_TO_POSTGRES + self.api_processes * DATABASE_CONNECTIONS

    @property
    def postgres_per_month(self) -> float:
        return self.rate * SECONDS_PER_MONTH * HISTORY_OF_JOB

    @property
    def seconds_until_full(self) -> float:
        """How long an outage of the workers may last until QUEUE_MAX rejects new jobs."""
        return self.settings.queue_max / self.rate

    def limits(self) -> list[str]:
        """Return what does not fit the defaults of the servers, worst first, and what to do."""
        shares = (
            (self.valkey_cpu / UTILIZATION, "Valkey's CPU: use a cluster"),
            (
                self.valkey_connections / MAX_CLIENTS,
                "connections to Valkey: more slots per worker, raise maxclients",
            ),
            (
                self.postgres_connections / MAX_CONNECTIONS,
                "connections to PostgreSQL: more slots per worker, PgBouncer",
            ),
            (
                60 / self.seconds_until_full,
                "QUEUE_MAX: full after less than a minute without workers, raise it",
            ),
        )
        return [text for share, text in sorted(shares, reverse=True) if share > 1]


ROWS: Final[Sequence[tuple[str, Callable[[Needs], str]]]] = (
    ("downloads per second", lambda n: f"{n.rate:.2f}" if n.rate < 10 else f"{n.rate:,.0f}"),
    ("running jobs", lambda n: f"{math.ceil(n.running):,}"),
    ("worker processes", lambda n: f"{n.workers:,}"),
    ("memory of all workers", lambda n: _bytes(n.worker_memory)),
    ("API processes", lambda n: f"{n.api_processes:,}"),
    ("CPU of all API processes", lambda n: _cores(n.api_cpu)),
    ("CPU of Valkey", lambda n: _cores(n.valkey_cpu)),
    ("memory of Valkey", lambda n: _bytes(n.valkey_memory)),
    ("connections to Valkey", lambda n: f"{n.valkey_connections:,}"),
    ("connections to PostgreSQL", lambda n: f"{n.postgres_connections:,}"),
    ("PostgreSQL per month", lambda n: _bytes(n.postgres_per_month)),
    ("`QUEUE_MAX` is reached without workers after", lambda n: _duration(n.seconds_until_full)),
    ("beyond the defaults", lambda n: "; ".join(n.limits()) or "nothing"),
)


def table(needs: Sequence[Needs]) -> str:
    """Return the needs as a Markdown table."""
    rates = [f"{each.workload.per_hour:,} per hour" for each in needs]
    rows = [["", *rates], *([title, *map(show, needs)] for title, show in ROWS)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * (len(needs) + 1))
    return "\n".join(lines)


def _bytes(value: float) -> str:
    for unit in ("MB", "GB", "TB"):
        value /= 1_000 if unit != "MB" else 1e6
        if value < 1_000:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def _cores(value: float) -> str:
    return f"{100 * value:.1f} % of a core" if value < 0.1 else f"{value:.1f} cores"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-hour", type=int, nargs="+", default=RATES)
    parser.add_argument("--seconds-per-job", type=float, default=Workload.seconds_per_job)
    parser.add_argument("--files-per-job", type=int, default=Workload.files_per_job)
    parser.add_argument("--watchers", type=int, default=Workload.watchers)
    arguments = parser.parse_args()
    settings = Settings.from_env()
    workloads = [
        Workload(
            per_hour=per_hour,
            seconds_per_job=arguments.seconds_per_job,
            files_per_job=arguments.files_per_job,
            watchers=arguments.watchers,
        )
        for per_hour in arguments.per_hour
    ]
    print(table([Needs(workload=workload, settings=settings) for workload in workloads]))


if __name__ == "__main__":
    main()
