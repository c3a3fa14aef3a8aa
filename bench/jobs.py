"""What a job costs besides its archive, against BullMQ on ioredis, in one run.

One worker on one core; the store and whoever enqueues on the other; by turns, medians, and the
median of the ratios of each round. Without the peer the table has our figures only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.api_targets import DRIVER_CORE, DRIVERS, ENV, PEER, PEER_NODE, ROOT, figures, has_peer
from bench.table import Rounds, Rows, table
from stack.services import start_valkey

ROWS: Rows = {
    "no-op jobs on one core": ("jobs/s", "≥ 0.25", ""),
    "CPU per job, worker": ("ms", "", ""),
    "accepted to started, p50 at 100/s": ("ms", "≤ 1.25", ""),
    "accepted to started, p99 at 100/s": ("ms", "≤ 0.75", ""),
}
OURS = f"{sys.executable} -m bench.no_op"
CONTENDERS = {
    "ours": (ROOT, f"{OURS} worker", f"{OURS} enqueue {{n}} {{rate}}"),
    "peer": (PEER_NODE, "node noop.mjs worker", "node noop.mjs enqueue {n} {rate}"),
}


def drive(contender: str, redis_url: str, number: int, rate: float) -> dict[str, Any]:
    """Run the queue driver; its figures."""
    folder, worker, enqueue = CONTENDERS[contender]
    return figures(
        [
            *(sys.executable, str(DRIVERS / "queue_bench.py"), "--redis", redis_url),
            *("--cwd", str(folder), "--worker", worker, "--enqueue", enqueue),
            *("--n", str(number), "--rate", str(rate)),
        ],
        # As many at a time as the peer's worker runs.
        env={**os.environ, **ENV, "WORKER_CONCURRENCY": "5"},
    )


def measure(contender: str, folder: Path, jobs: int) -> dict[str, float]:
    """All rows of one contender, on a store that has just been started."""
    store = start_valkey(folder)
    try:
        subprocess.run(
            ["taskset", "-apc", DRIVER_CORE, str(store.process.pid)],
            check=True,
            capture_output=True,
        )
        drained = drive(contender, store.url, jobs, 0)
        steady = drive(contender, store.url, 500, 100)
    finally:
        store.process.stop()
    return {
        "no-op jobs on one core": drained["jobs_per_s"],
        "CPU per job, worker": drained["cpu_ms_per_job"],
        "accepted to started, p50 at 100/s": steady["p50_ms"],
        "accepted to started, p99 at 100/s": steady["p99_ms"],
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4_000)
    asked = parser.parse_args()
    if not DRIVERS.is_dir():
        print(f"No load drivers in {PEER}: set PEER_DIR", file=sys.stderr)
        return 1
    contenders = list(CONTENDERS) if has_peer() else ["ours"]
    rounds: Rounds = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            for name in contenders:
                rounds[name].append(measure(name, Path(folder) / f"{name}-{number}", asked.jobs))
                print(f"round {number + 1}, {name}: {rounds[name][-1]}", file=sys.stderr)
    print(table(ROWS, rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
