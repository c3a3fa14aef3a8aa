"""Measures the API and its live updates beside the usual design in Node, in one run.

One server process on one core; drivers and store on the other; fresh servers for every round, ours
and the baseline's alternately; medians, and the median of the ratios within each round.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import psutil

from bench.servers import PROFILES, Profile, Server, drive, ours, peer
from bench.table import Rounds, Rows, table

#: Row: unit, target and moonshot of ours / baseline.
ROWS: Rows = {
    "accept, p50 at 200/s": ("ms", "≤ 0.9", "≤ 0.6"),
    "accept, p99 at 200/s": ("ms", "≤ 0.5", ""),
    "accept, at saturation": ("requests/s", "≥ 0.8", "≥ 1.2"),
    "store CPU per accepted job": ("ms", "≤ 1.2", "≤ 0.7"),
    "status": ("requests/s", "≥ 0.9", "≥ 2.0"),
    "status, unchanged (304)": ("requests/s", "", ""),
    "stream opened, p50": ("ms", "", ""),
    "stream opened, CPU": ("ms", "", ""),
    "memory per open stream": ("KB", "≤ 1.5 KB", "≤ 1 KB"),
    "memory of the process with 10,000 streams": ("MB", "≤ 120 MB", "≤ 90 MB"),
    "event to client, p50": ("ms", "≤ 0.9", "≤ 0.5"),
    "event to client, p99": ("ms", "≤ 0.5", "≤ 0.1"),
    "CPU per event": ("ms", "≤ 0.6", "≤ 0.45"),
    "long poll, change to response, p50 of 1,000": ("ms", "", ""),
    "long poll, change to response, p99 of 1,000": ("ms", "", ""),
    "memory per waiting long poll": ("KB", "", ""),
}
#: What other settings are held to, where it is not the same.
TARGETS = {
    "cors": {"accept, p50 at 200/s": "≤ 1.0", "accept, at saturation": "≥ 0.7", "status": "≥ 0.8"},
    "jwt": {"accept, p50 at 200/s": "≤ 1.2", "accept, at saturation": "≥ 0.5", "status": "≥ 0.6"},
}
MANY_STREAMS = 10_000


def measure_requests(server: Server, seconds: int) -> dict[str, float]:
    """Return the rows about single requests."""
    target = ("--base", server.base, "--pid", str(server.pid), "--seconds", str(seconds))
    create = (*target, "--headers", str(server.create_headers))
    read = (*target, "--headers", str(server.read_headers), "--ids", str(server.ids))
    at_rate = drive("accept", *create, "--mode", "rate")
    before = _cpu_seconds(server.store_pid)
    saturated = drive("accept", *create, "--mode", "saturation")
    store = _cpu_seconds(server.store_pid) - before
    status = drive("status", *read, "--connections", "64")
    found: dict[str, float] = {
        "accept, p50 at 200/s": at_rate["p50_ms"],
        "accept, p99 at 200/s": at_rate["p99_ms"],
        "accept, at saturation": saturated["requests_per_second"],
        # wrk also ran for a second before it counted.
        "store CPU per accepted job": store
        * 1000
        * seconds
        / (seconds + 1)
        / saturated["requests"],
        "status": status["requests_per_second"],
    }
    if server.has_long_poll:
        unchanged = drive("status", *read, "--connections", "64", "--etag")
        changes = ("--redis", server.redis_url, "--channel", server.channel)
        polls = drive("long_poll", *read, *changes, "--payload", server.payload)
        found |= {
            "status, unchanged (304)": unchanged["requests_per_second"],
            "long poll, change to response, p50 of 1,000": polls["p50_ms"],
            "long poll, change to response, p99 of 1,000": polls["p99_ms"],
            "memory per waiting long poll": polls["memory_kb_per_poll"],
        }
    return found


def measure_streams(server: Server, streams: int, seconds: int) -> dict[str, float]:
    """Return the rows about ``streams`` open streams that changes are published to."""
    found = drive(
        "streams",
        *("--base", server.base, "--pid", str(server.pid), "--seconds", str(seconds)),
        *("--headers", str(server.read_headers), "--ids", str(server.ids)),
        *("--streams", str(streams), "--rate", "1000", "--redis", server.redis_url),
        *("--channel", server.channel, "--payload", server.payload),
    )
    return {
        "stream opened, p50": found["open_p50_ms"],
        "stream opened, CPU": found["open_cpu_ms"],
        "memory per open stream": found["memory_kb_per_stream"],
        "event to client, p50": found["event_p50_ms"],
        "event to client, p99": found["event_p99_ms"],
        "CPU per event": found["event_cpu_ms"],
    }


def measure_many_streams(server: Server) -> dict[str, float]:
    """Return the memory that ten thousand streams take on a fresh server.

    It counts the process that holds them, not gunicorn's master, which holds nothing.
    """
    workers = psutil.Process(server.pid).children()
    holder = str(workers[0].pid if workers else server.pid)
    found = drive(
        "streams",
        *("--base", server.base, "--pid", str(server.pid), "--memory-pid", holder),
        *("--headers", str(server.read_headers), "--ids", str(server.ids)),
        *("--streams", str(MANY_STREAMS)),
    )
    return {"memory of the process with 10,000 streams": found["memory_mb"]}


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def rows_of(profile: str) -> Rows:
    """Return the rows with the targets of a profile."""
    targets = TARGETS.get(profile, {})
    return {
        row: (unit, targets[row], "") if row in targets else (unit, target, moonshot)
        for row, (unit, target, moonshot) in ROWS.items()
    }


def main() -> int:
    """Measure and print one table per profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--profiles", default="plain", help=f"some of {','.join(PROFILES)}")
    options = parser.parse_args()
    for name in options.profiles.split(","):
        profile = Profile(name)
        rounds: Rounds = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            for number in range(options.rounds):
                for contender, start in (("ours", ours), ("peer", peer)):
                    state = Path(folder) / f"{contender}-{number}"
                    with start(state / "requests", options.streams, profile) as server:
                        found = measure_streams(server, options.streams, options.seconds)
                        found |= measure_requests(server, options.seconds)
                    if name == "plain":
                        with start(state / "streams", MANY_STREAMS, profile) as server:
                            found |= measure_many_streams(server)
                    rounds[contender].append(found)
                    print(f"{name} {number + 1}, {contender}: {json.dumps(found)}", file=sys.stderr)
        print(f"\nSettings: {name}\n\n{table(rows_of(name), rounds)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
