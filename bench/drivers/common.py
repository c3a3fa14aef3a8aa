"""What the load drivers share: arguments, process statistics, percentiles, headers."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

Headers = dict[str, str]


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every driver has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--base", required=True, help="base URL of the server")
    parser.add_argument("--pid", type=int, required=True, help="root of the server's process tree")
    parser.add_argument(
        "--headers", type=Path, help="JSON list of header objects; requests use them in rotation"
    )
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=3)
    return parser


def load_headers(path: Path | None) -> list[Headers]:
    """Return the header sets that requests use in rotation; one empty set without a file."""
    if path is None:
        return [{}]
    headers: list[Headers] = json.loads(path.read_text())
    return headers


def host_and_port(base: str) -> tuple[str, int]:
    """Return the address that a base URL such as ``http://127.0.0.1:8080`` names."""
    parts = urlsplit(base)
    return parts.hostname or "127.0.0.1", parts.port or 80


def header_lines(headers: Headers) -> str:
    """Return header lines as they go over the wire."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its descendants have used, in seconds."""
    total = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def resident_kb(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in KB."""
    total = 0.0
    for process in _tree(pid):
        try:
            total += process.memory_info().rss / 1024
        except psutil.NoSuchProcess:
            continue
    return total


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile by the nearest-rank method. Raises ``ValueError`` without values."""
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 4)


def report(figures: dict[str, Any]) -> None:
    """Print a driver's figures."""
    print(json.dumps(figures), flush=True)


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]
