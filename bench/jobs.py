"""Measures what a job costs apart from its archive, beside BullMQ, in one run.

One worker on one core; the store and the process that enqueues on the other; alternating rounds,
medians, and the median of the ratios within each round.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.servers import PEER, ROOT, SETTINGS, drive, move_to_driver_core
from bench.table import Rounds, Rows, table
from stack.services import start_valkey

ROWS: Rows = {
    "no-op jobs on one core": ("jobs/s", "≥ 0.15", ""),
    "CPU per job, worker": ("ms", "", ""),
    "accepted to started, p50 at 100/s": ("ms", "≤ 1.6", ""),
    "accepted to started, p99 at 100/s": ("ms", "≤ 0.75", ""),
}
OURS = f"{sys.executable} -m bench.no_op"
CONTENDERS = {
    "ours": (ROOT, f"{OURS} worker", f"{OURS} enqueue {{n}} {{rate}}"),
    "peer": (PEER, "node no_op.mjs worker", "node no_op.mjs enqueue {n} {rate}"),
}


def measure(contender: str, folder: Path, jobs: int) -> dict[str, float]:
    """Return all rows of one contender, on a fresh store."""
    cwd, worker, enqueue = CONTENDERS[contender]
    # As many jobs at a time as the baseline's worker runs.
    env = {**os.environ, **SETTINGS, "WORKER_CONCURRENCY": "5"}
    store = start_valkey(folder)
    try:
        move_to_driver_core(store.process.pid)
        load = ("--redis", store.url, "--cwd", str(cwd), "--worker", worker, "--enqueue", enqueue)
        drained = drive("queue", *load, "--n", str(jobs), env=env)
        steady = drive("queue", *load, "--n", "500", "--rate", "100", env=env)
    finally:
        store.process.stop()
    return {
        "no-op jobs on one core": drained["jobs_per_second"],
        "CPU per job, worker": drained["cpu_ms_per_job"],
        "accepted to started, p50 at 100/s": steady["p50_ms"],
        "accepted to started, p99 at 100/s": steady["p99_ms"],
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4_000)
    options = parser.parse_args()
    rounds: Rounds = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name in CONTENDERS:
                rounds[name].append(measure(name, Path(folder) / f"{name}-{number}", options.jobs))
                print(f"round {number + 1}, {name}: {rounds[name][-1]}", file=sys.stderr)
    print(table(ROWS, rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
