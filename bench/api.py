"""The API and its live updates against the usual design in Node, in one run.

One server process on one core; driver and store on the other; fresh servers for every round, ours
and the peer's by turns; medians, and the median of the ratios of each round. Without the peer the
table has our figures only, which then say little.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from bench.api_targets import DRIVER_CORE, DRIVERS, PEER, Server, figures, has_peer, ours, peer
from bench.table import Rounds, Rows, table

WITH_IDS = Path(__file__).parent / "with_ids.py"
LONG_POLL = Path(__file__).parent / "long_poll.py"

#: Row: figure of which measurement, unit, target and moonshot of ours / peer.
ROWS: Rows = {
    "accept, p50 at 200/s": ("ms", "≤ 1.0", "≤ 0.75"),
    "accept, p99 at 200/s": ("ms", "≤ 1.0", ""),
    "accept, at saturation": ("requests/s", "≥ 0.5", "≥ 1.0"),
    "store CPU per accepted job": ("ms", "≤ 0.5", ""),
    "status": ("requests/s", "≥ 0.75", "≥ 2.0"),
    "status, unchanged (304)": ("requests/s", "", ""),
    "stream opened, p50": ("ms", "", ""),
    "stream opened, CPU": ("ms", "", ""),
    "memory per open stream": ("KB", "≤ 11 KB", "≤ 1 KB"),
    "memory of the process with 10,000 streams": ("MB", "≤ 150 MB", "≤ 100 MB"),
    "event to client, p50": ("ms", "≤ 1.0", "≤ 0.75"),
    "event to client, p99": ("ms", "≤ 0.5", "≤ 0.25"),
    "CPU per event": ("ms", "≤ 0.6", "≤ 0.45"),
    "long poll, change to answer, p50 of 1,000": ("ms", "", ""),
    "long poll, change to answer, p99 of 1,000": ("ms", "", ""),
    "memory per waiting long poll": ("KB", "", ""),
}
CROWD = 10_000


def drive(driver: str, server: Server, *arguments: str, ids: bool = False) -> dict[str, Any]:
    """Run one of the load drivers; its figures."""
    program = [sys.executable, *([str(WITH_IDS), str(server.ids)] if ids else [])]
    return figures(
        [
            *("taskset", "-c", DRIVER_CORE, *program, str(DRIVERS / driver)),
            *("--base", server.base, "--pid", str(server.pid), *arguments),
        ]
    )


def measure(server: Server, *, streams: int, seconds: int) -> dict[str, float]:
    """All rows of one server that has just been started."""
    duration = ("--duration", str(seconds))
    fan = drive(
        "sse_fanout.py",
        server,
        *("--streams", str(streams), "--rate", "1000", "--redis", server.redis_url),
        *(*duration, *server.fan_out),
        ids=server.ids is not None,
    )
    if fan["delivered"] < fan["events"]:
        raise RuntimeError(f"{fan['events'] - fan['delivered']} events were not delivered")
    rate = drive(
        "post_load.py", server, "--mode", "rate", "--rate", "200", *duration, *server.accept
    )
    before = _cpu(server.store_pid)
    full = drive("post_load.py", server, "--mode", "sat", *duration, *server.accept)
    store = _cpu(server.store_pid) - before
    listed = ("--ids", str(server.ids)) if server.ids else ()
    poll = ("--jobs", "1000", "--connections", "64", *duration, *listed)
    status = drive("status_poll.py", server, *poll)
    found = {
        "accept, p50 at 200/s": rate["p50_ms"],
        "accept, p99 at 200/s": rate["p99_ms"],
        "accept, at saturation": full["rps"],
        # wrk also ran for a second before it counted.
        "store CPU per accepted job": store * 1000 / (full["n"] * (seconds + 1) / seconds),
        "status": status["rps"],
        "stream opened, p50": fan["open_p50_ms"],
        "stream opened, CPU": fan["open_cpu_ms_per_stream"],
        "memory per open stream": fan["rss_kb_per_stream"],
        "event to client, p50": fan["ev_p50_ms"],
        "event to client, p99": fan["ev_p99_ms"],
        "CPU per event": fan["cpu_ms_per_event"],
    }
    if server.ids:
        found["status, unchanged (304)"] = drive("status_poll.py", server, *poll, "--etag")["rps"]
        found |= long_polls(server)
    return found


def crowd(server: Server) -> dict[str, float]:
    """What ten thousand streams take, on a server that has just been started.

    Counted is the process that holds them; gunicorn's master, which holds nothing, is not.
    """
    workers = psutil.Process(server.pid).children()
    holder = str(workers[0].pid if workers else server.pid)
    options = ("--streams", str(CROWD), "--publish", "none", "--idle", "1", "--rss-pid", holder)
    options = (*options, *server.fan_out)
    fan = drive("sse_fanout.py", server, *options, ids=server.ids is not None)
    return {"memory of the process with 10,000 streams": fan["rss1_mb"]}


def long_polls(server: Server) -> dict[str, float]:
    """Ours only: the peer has none. Its first jobs were never told of any change."""
    known = ("--ids", str(server.ids), "--redis", server.redis_url, *server.fan_out[2:])
    found = drive(str(LONG_POLL), server, *known)
    return {
        "long poll, change to answer, p50 of 1,000": found["p50_ms"],
        "long poll, change to answer, p99 of 1,000": found["p99_ms"],
        "memory per waiting long poll": found["rss_kb_per_poll"],
    }


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=3)
    asked = parser.parse_args()
    if not DRIVERS.is_dir():
        print(f"No load drivers in {PEER}: set PEER_DIR", file=sys.stderr)
        return 1
    targets = [("ours", ours), ("peer", peer)] if has_peer() else [("ours", ours)]
    if len(targets) == 1:
        print("No peer: set PEER_NODE_DIR to its folder, node_modules installed", file=sys.stderr)
    rounds: Rounds = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            for name, target in targets:
                with target(Path(folder) / f"{name}-{number}", asked.streams) as server:
                    found = measure(server, streams=asked.streams, seconds=asked.seconds)
                with target(Path(folder) / f"{name}-{number}-crowd", CROWD) as server:
                    found |= crowd(server)
                rounds[name].append(found)
                print(f"round {number + 1}, {name}: {json.dumps(found)}", file=sys.stderr)
    print(table(ROWS, rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
