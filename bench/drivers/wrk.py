"""Runs wrk, a load generator in C that one core suffices for, and reads its figures."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from bench.drivers.common import cpu_seconds

_DONE = """
done = function(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %f %f", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


def quoted(text: str) -> str:
    """Return ``text`` as a Lua string; JSON's escapes are a subset of Lua's for ASCII."""
    return json.dumps(text)


def lua_table(values: dict[str, str]) -> str:
    """Return a Lua table of strings."""
    return "{" + ", ".join(f"[{quoted(k)}]={quoted(v)}" for k, v in values.items()) + "}"


def run_wrk(
    base: str, script: Sequence[str], *, connections: int, seconds: int, pid: int
) -> dict[str, Any]:
    """Load ``base`` for ``seconds`` after one second of warm-up; return the figures.

    Raises ``RuntimeError`` when any request failed or got a status of 400 or more.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write("\n".join([*script, _DONE]))
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", "--timeout", "10s", "-s", file.name]
        subprocess.run([*command, "-d1s", base], check=True, capture_output=True)
        before = cpu_seconds(pid)
        done = subprocess.run(
            [*command, f"-d{seconds}s", base], check=True, capture_output=True, text=True
        )
        used = cpu_seconds(pid) - before
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\S+) (\S+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk printed no result: {done.stderr[-300:]}")
    requests, microseconds, failed = (int(found[group]) for group in (1, 2, 3))
    if failed:
        raise RuntimeError(f"{failed} of {requests} requests failed")
    return {
        "requests": requests,
        "requests_per_second": round(requests * 1e6 / microseconds, 1),
        "p50_ms": float(found[4]),
        "p99_ms": float(found[5]),
        "cpu_ms_per_request": round(used * 1000 / max(1, requests), 4),
    }
