"""Measures the archive engine beside zipstream-ng with boto3 and beside bare server-side copies.

    python -m bench.archive [--scale 0.1] [--rounds 3] [--sets 100KB,10MB] [--places bare,cloud]

Every build runs in a process of its own against SeaweedFS on this machine, directly ("bare") and
through a proxy with a cloud's latency and rates ("cloud", bench/cloud.py). The contenders alternate
within each round; the tables show medians over the rounds, and of the ratios within each round.
Files have CRC32s, which the SDKs of AWS send with every upload since 2025; --without-crc32 leaves
them out.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from bench.cloud import CloudProxy
from common.errors import LonghaulError
from common.object_storage import ObjectStorage
from stack.process import Process, accepts_connections, free_port, wait_until
from stack.services import S3, start_s3
from worker.archive.composing.transfers import MAX_COPIES as COPIES
from worker.archive.storage_probe import probe_storage
from worker.archive.zip_format.crc32 import crc32

MB = 1_000_000
OURS, SAME, CHANGED = "longhaul", "longhaul, same request again", "longhaul, 0.5 % changed"
ZIPSTREAM, THREADS, COPY = "zipstream-ng + boto3", "the same, 16 threads", "bare copy"
#: Ways of our engine in which every byte passes through the worker.
STREAMING = {"written": "longhaul, no copies", "unsized": "longhaul, sizes unknown"}


@dataclass(frozen=True)
class FileSet:
    """``count`` files of ``size`` bytes with ids from ``first`` on."""

    name: str
    title: str
    first: int
    count: int
    size: int

    @property
    def gigabytes(self) -> float:
        """Return the size of the whole set."""
        return self.count * self.size / 1e9

    @property
    def can_be_copied(self) -> bool:
        """Return whether S3 copies such files as parts: each part but the last has 5 MiB."""
        return self.size >= 5 * 1024 * 1024


Row = dict[str, float]


class Results:
    """The rows of all rounds, by place, set and contender."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], list[Row]] = defaultdict(list)

    def median(self, place: str, files: FileSet, label: str, figure: str) -> float:
        """Return the median of a figure over the rounds."""
        return statistics.median(row[figure] for row in self.rows[place, files.title, label])

    def ratio(
        self, place: str, files: FileSet, one: str, other: str, figure: str = "wall"
    ) -> float:
        """Return the median of the ratios within each round, in which the machine cancels out."""
        mine, theirs = (self.rows[place, files.title, label] for label in (one, other))
        return statistics.median(a[figure] / b[figure] for a, b in zip(mine, theirs, strict=True))


class Bench:
    """An object storage full of files."""

    def __init__(
        self, s3: S3, storage: ObjectStorage, results: Results, *, with_crc32: bool
    ) -> None:
        self._s3 = s3
        self._storage = storage
        self._results = results
        self._with_crc32 = with_crc32
        self._profile = json.dumps(probe_storage(storage, "archives").to_dict())

    def fill(self, files: FileSet) -> None:
        """Put the files of a set."""
        block = os.urandom(files.size + files.count)
        for index in range(files.count):
            self._put(str(files.first + index), memoryview(block)[index : index + files.size])

    def change(self, files: FileSet, count: int) -> None:
        """Overwrite ``count`` files, spread over the set."""
        for index in range(count):
            key = str(files.first + index * files.count // count)
            self._put(key, memoryview(os.urandom(files.size)))

    def _put(self, key: str, content: memoryview) -> None:
        self._storage.put_object(
            "files", key, content, metadata={"filename": f"{key}.bin"},
            crc32=crc32(content) if self._with_crc32 else None,
        )  # fmt: skip

    def delete(self, bucket: str) -> None:
        """Delete all objects of a bucket; without archives, the next build starts from nothing."""
        while found := self._storage.list_objects_v2(bucket):
            self._storage.delete_objects(bucket, [item.key for item in found])

    @contextmanager
    def endpoint(self, place: str) -> Iterator[str]:
        """Return the URL of the S3 server as seen from ``bare`` or ``cloud``."""
        if place == "bare":
            yield self._s3.endpoint
            return
        with CloudProxy(self._s3.port) as proxy:
            yield proxy.url

    def run(self, contender: str, files: FileSet, label: str, place: str) -> None:
        """Build once in a process of its own and keep the figures."""
        # Otherwise this build would wait for the disk while it writes what earlier ones left.
        os.sync()
        with self.endpoint(place) as endpoint:
            command = [
                *(sys.executable, "-m", "bench.archive_build", contender),
                *("--endpoint", endpoint, "--width", str(COPIES)),
                *("--key", self._s3.access_key, "--secret", self._s3.secret_key),
                *("--first", str(files.first), "--count", str(files.count)),
                *("--size", str(files.size), "--profile", self._profile),
            ]
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=1800
            )
        if done.returncode:
            raise RuntimeError(f"{label} failed on {files.title}: {done.stderr[-800:]}")
        row = json.loads(done.stdout)
        self._results.rows[place, files.title, label].append(row)
        print(
            f"  {place:5} {files.title:>14}  {label:<30} {row['wall']:7.2f} s "
            f"{row['cpu']:7.3f} CPU-s",
            flush=True,
        )


def one_round(bench: Bench, files: FileSet, place: str, number: int) -> None:
    """Run every contender once on one set, each from an empty archive bucket."""
    runs = [("longhaul", OURS), ("zipstream", ZIPSTREAM), ("zipstream16", THREADS)]
    if files.can_be_copied:
        runs.append(("copy", COPY))
    if place == "bare" and files.name == "500MB":
        runs += STREAMING.items()
    # Another one begins each round, as the first build has to wait for the server to settle.
    first = number % len(runs)
    for contender, label in runs[first:] + runs[:first]:
        bench.delete("archives")
        bench.run(contender, files, label, place)
        if label == OURS and place == "bare":
            bench.run(contender, files, SAME, place)
            if files.name == "100KB":
                bench.change(files, max(1, files.count // 200))
                bench.run(contender, files, CHANGED, place)


def figures(results: Results, sets: list[FileSet], place: str) -> str:
    """Return the table of all medians."""
    lines = [
        "| set | contender | wall s | CPU-s | CPU-s per GB | CPU-ms per file | through the worker "
        "| peak MB | above idle MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for files in sets:
        for label in [
            label for at, title, label in results.rows if (at, title) == (place, files.title)
        ]:
            wall, cpu, peak, idle, through = (
                results.median(place, files, label, figure)
                for figure in ("wall", "cpu", "peak", "idle", "through")
            )
            lines.append(
                f"| {files.title} | {label} | {wall:.2f} | {cpu:.3f} | {cpu / files.gigabytes:.3f} "
                f"| {cpu / files.count * 1000:.2f} | {through / files.gigabytes / 1e7:.2f} % "
                f"| {peak / MB:.0f} | {(peak - idle) / MB:.0f} |"
            )
    return "\n".join(lines)


def ratios(results: Results, sets: list[FileSet], place: str) -> str:
    """Return the table of wall times as ratios: what the targets are about."""
    lines = [
        f"| set | longhaul / {ZIPSTREAM} | longhaul / {THREADS} | longhaul / {COPY} |",
        "|---|---|---|---|",
    ]
    for files in sets:
        cells = [
            f"{results.ratio(place, files, OURS, label):.2f}"
            if results.rows.get((place, files.title, label))
            else "-"
            for label in (ZIPSTREAM, THREADS, COPY)
        ]
        lines.append(f"| {files.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def file_sets(scale: float) -> list[FileSet]:
    """Return all sets, each with ``scale`` of its files."""

    def some(count: int) -> int:
        return round(count * scale) or 1

    return [
        FileSet("100KB", "1,000 x 100 KB", 100_000, some(1000), 100_000),
        FileSet("1MB", "300 x 1 MB", 200_000, some(300), MB),
        FileSet("6MB", "150 x 6 MB", 300_000, some(150), 6 * MB),
        FileSet("10MB", "100 x 10 MB", 400_000, some(100), 10 * MB),
        FileSet("50MB", "40 x 50 MB", 500_000, some(40), 50 * MB),
        FileSet("500MB", "4 x 500 MB", 600_000, some(4), 500 * MB),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the files of each set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", default="100KB,1MB,6MB,10MB,50MB,500MB")
    parser.add_argument("--places", default="bare,cloud")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="use a server in memory that costs little, so that the builds are the bottleneck",
    )
    parser.add_argument("--without-crc32", action="store_true", help="put files without checksums")
    options = parser.parse_args()
    names, places = options.sets.split(","), options.places.split(",")
    sets = [files for files in file_sets(options.scale) if files.name in names]
    results = Results()
    for files, number in product(sets, range(options.rounds)):
        print(f"round {number + 1} of {options.rounds}")
        with _bench(options, results) as bench:
            bench.fill(files)
            for place in places:
                one_round(bench, files, place, number)
    for place in places:
        print(f"\n{place}\n\n{figures(results, sets, place)}\n\n{ratios(results, sets, place)}")
    for files in sets:
        if files.name == "100KB" and "bare" in places:
            rebuild = results.ratio("bare", files, CHANGED, OURS, "cpu")
            print(f"\nCPU of a rebuild with 0.5 % changed files: {rebuild:.2f} of a build")


@contextmanager
def _bench(options: argparse.Namespace, results: Results) -> Iterator[Bench]:
    """Start a server for one round: SeaweedFS keeps the bytes of deleted objects for a while."""
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as directory:
        s3 = _start_memory_s3() if options.memory else start_s3(Path(directory))
        try:
            storage = _ready(s3)
            yield Bench(s3, storage, results, with_crc32=not options.without_crc32)
            storage.close()
        finally:
            s3.process.stop()


def _start_memory_s3() -> S3:
    port = free_port()
    command = [sys.executable, "-m", "tests.support.modeled_s3", "fast", str(port)]
    process = Process("s3", command)
    wait_until(lambda: accepts_connections(port), "the server in memory")
    return S3(process=process, port=port, endpoint=f"http://127.0.0.1:{port}")


def _ready(s3: S3) -> ObjectStorage:
    storage = ObjectStorage(
        endpoint=s3.endpoint, region="us-east-1", access_key=s3.access_key, secret_key=s3.secret_key
    )
    for bucket in ("files", "archives"):
        for _ in range(100):
            try:
                storage.ensure_bucket(bucket)
                break
            except LonghaulError:
                time.sleep(0.2)
    return storage


if __name__ == "__main__":
    main()
