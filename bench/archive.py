"""The archive engine against zipstream-ng with boto3, and against bare server-side copies.

    python -m bench.archive [--scale 0.1] [--rounds 3] [--sets small,mid,large]

Every build runs in a process of its own against SeaweedFS on this machine; the contenders take
turns within each round, and the table shows medians over the rounds. ``--scale`` makes fewer files
of the same sizes. Worker CPU is the fair figure: the store works on the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.delay import DelayProxy
from common.errors import LonghaulError
from common.object_storage import ObjectStorage
from stack.services import S3, start_s3

MB = 1_000_000
#: Ways of our engine in which every byte passes the worker.
STREAMING = {"written": "longhaul, no copies", "unsized": "longhaul, sizes unknown"}


@dataclass(frozen=True)
class FileSet:
    """``count`` files of ``size`` bytes with ids from ``first`` on."""

    title: str
    first: int
    count: int
    size: int

    @property
    def gigabytes(self) -> float:
        return self.count * self.size / 1e9


Row = dict[str, float]


class Bench:
    """A store full of files, and the results so far."""

    def __init__(self, s3: S3, store: ObjectStorage) -> None:
        self._s3 = s3
        self._store = store
        self.port = s3.port
        self.results: dict[tuple[str, str], list[Row]] = defaultdict(list)

    def fill(self, files: FileSet) -> None:
        block = os.urandom(files.size + files.count)
        for index in range(files.count):
            content = memoryview(block)[index : index + files.size]
            name = {"filename": f"{files.first + index}.bin"}
            self._store.put_object("files", str(files.first + index), content, metadata=name)

    def change(self, files: FileSet, count: int) -> None:
        """Overwrite ``count`` files, spread over the set."""
        for index in range(count):
            key = str(files.first + index * files.count // count)
            self._store.put_object(
                "files", key, os.urandom(files.size), metadata={"filename": f"{key}.bin"}
            )

    def forget(self) -> None:
        """Remove all archives and indexes, so that the next build starts from nothing."""
        while found := self._store.list_objects_v2("archives"):
            self._store.delete_objects("archives", [item.key for item in found])

    def run(self, contender: str, files: FileSet, label: str, *, endpoint: str = "") -> None:
        command = [
            *(sys.executable, "-m", "bench.archive_build", contender),
            *("--endpoint", endpoint or self._s3.endpoint),
            *("--key", self._s3.access_key, "--secret", self._s3.secret_key),
            *("--first", str(files.first), "--count", str(files.count), "--size", str(files.size)),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)
        row = json.loads(done.stdout)
        self.results[files.title, label].append(row)
        print(f"  {files.title:>14} {label:<24} {row['wall']:7.2f} s  {row['cpu']:7.3f} CPU-s")

    def median(self, files: FileSet, label: str, figure: str) -> float:
        return statistics.median(row[figure] for row in self.results[files.title, label])


def one_round(bench: Bench, sets: dict[str, FileSet]) -> None:
    """Every contender once on every set; whoever is second warms nothing for the first."""
    for name, files in sets.items():
        bench.forget()
        bench.run("longhaul", files, "longhaul")
        bench.run("longhaul", files, "the same again")
        if name == "small":
            bench.change(files, max(1, files.count // 200))
            bench.run("longhaul", files, "0.5 % changed")
            bench.forget()
            with DelayProxy(bench.port, delay=0.030) as proxy:
                bench.run("longhaul", files, "longhaul, 30 ms", endpoint=proxy.url)
        else:
            bench.forget()
            bench.run("copy", files, "bare copy")
        if name == "large":
            for contender, label in STREAMING.items():
                bench.forget()
                bench.run(contender, files, label)
        bench.forget()
        bench.run("zipstream", files, "zipstream-ng + boto3")


def table(bench: Bench, sets: dict[str, FileSet]) -> str:
    lines = [
        "| set | contender | wall s | CPU-s | CPU-s per GB | CPU-ms a file | through worker "
        "| peak MB | above idle MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for files in sets.values():
        labels = [label for title, label in bench.results if title == files.title]
        for label in labels:
            wall, cpu, peak, idle, through = (
                bench.median(files, label, figure)
                for figure in ("wall", "cpu", "peak", "idle", "through")
            )
            share = f"{through / files.gigabytes / 1e7:.2f} %"
            lines.append(
                f"| {files.title} | {label} | {wall:.2f} | {cpu:.3f} | {cpu / files.gigabytes:.3f} "
                f"| {cpu / files.count * 1000:.2f} | {share} "
                f"| {peak / MB:.0f} | {(peak - idle) / MB:.0f} |"
            )
    return "\n".join(lines)


def ratios(bench: Bench, files: FileSet, one: str, other: str, figure: str) -> float:
    """The median of the ratios within each round: what else the machine did cancels out."""
    pairs = zip(bench.results[files.title, one], bench.results[files.title, other], strict=True)
    return statistics.median(a[figure] / b[figure] for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the files of each set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", default="small,mid,large")
    options = parser.parse_args()
    every = {
        "small": FileSet("1,000 x 100 KB", 100_000, round(1000 * options.scale), 100_000),
        "mid": FileSet("100 x 10 MB", 200_000, round(100 * options.scale) or 1, 10 * MB),
        "large": FileSet("4 x 500 MB", 300_000, round(4 * options.scale) or 1, 500 * MB),
    }
    sets = {name: every[name] for name in options.sets.split(",")}
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as directory:
        s3 = start_s3(Path(directory))
        try:
            store = _ready(s3)
            bench = Bench(s3, store)
            for files in sets.values():
                bench.fill(files)
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}")
                one_round(bench, sets)
            print(table(bench, sets))
            for name, files in sets.items():
                if name != "small":
                    wall = ratios(bench, files, "longhaul", "bare copy", "wall")
                    print(f"{files.title}: wall against bare copy {wall:.2f}")
                else:
                    cpu = ratios(bench, files, "0.5 % changed", "longhaul", "cpu")
                    print(f"{files.title}: CPU of a rebuild against a build {cpu:.2f}")
                cpu = ratios(bench, files, "longhaul", "zipstream-ng + boto3", "cpu")
                print(f"{files.title}: CPU against zipstream-ng + boto3 {cpu:.3f}")
            store.close()
        finally:
            s3.process.stop()


def _ready(s3: S3) -> ObjectStorage:
    store = ObjectStorage(
        endpoint=s3.endpoint, region="us-east-1", access_key=s3.access_key, secret_key=s3.secret_key
    )
    for bucket in ("files", "archives"):
        for _ in range(100):
            try:
                store.ensure_bucket(bucket)
                break
            except LonghaulError:
                time.sleep(0.2)
    return store


if __name__ == "__main__":
    main()
