"""One build of one archive in a process of its own, so that CPU and memory are its alone.

Prints a JSON object: wall and CPU seconds, the process's peak memory and what of it is there before
the build begins (bytes), bytes through the worker.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

BUCKET, ARCHIVES = "files", "archives"
PART = 64 * 1024 * 1024


def status(name: str) -> int:
    """A figure of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def longhaul(options: argparse.Namespace) -> Callable[[], int]:
    """Our engine; as ``written`` without copies, as ``unsized`` with files of unknown size."""
    from common.jobs.model import OnMissing
    from common.object_storage import ObjectStorage
    from common.sources import source_from_template
    from worker.archive import BuildRequest, build
    from worker.archive.build import Engine
    from worker.attempt.control import AttemptControl

    through = 0

    def count(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        nonlocal through
        through += event.get("through_worker", 0)
        raise structlog.DropEvent

    structlog.configure(processors=[count])
    store = ObjectStorage(
        endpoint=options.endpoint,
        region="us-east-1",
        access_key=options.key,
        secret_key=options.secret,
    )
    source = source_from_template(f"s3://{BUCKET}/{{file_id}}", store=store)
    if options.contender == "unsized":
        source = Unsized(source, options.size)
    request = BuildRequest(
        job_id=str(uuid.uuid4()),
        attempt_token=1,
        file_ids=tuple(range(options.first, options.first + options.count)),
        file_name=None,
        on_missing=OnMissing.FAIL,
        bucket=ARCHIVES,
        direct_single_file=False,
        max_bytes=None,
    )

    def run() -> int:
        artifact = build(
            request,
            source=source,
            store=store,
            control=AttemptControl(deadline=3600),
            engine=Engine(can_copy=options.contender != "written"),
        )
        return artifact.size if options.contender == "unsized" else through

    return run


class Unsized:
    """Files of another source whose sizes and versions are not told, as some HTTP origins do."""

    def __init__(self, source: Any, size: int) -> None:
        self._source, self._size = source, size

    def describe(self, *args: Any, **kwargs: Any) -> list[Any]:
        return [
            replace(entry, size=None, etag=None, ranged=False, location=None)
            for entry in self._source.describe(*args, **kwargs)
        ]

    def open(self, entry: Any, **kwargs: Any) -> Any:
        return self._source.open(replace(entry, size=self._size), **kwargs)


def boto(options: argparse.Namespace) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=options.endpoint,
        region_name="us-east-1",
        aws_access_key_id=options.key,
        aws_secret_access_key=options.secret,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=20),
    )


def zipstream(options: argparse.Namespace) -> Callable[[], int]:
    """What people build: zipstream-ng, boto3's upload_fileobj."""
    from zipstream import ZIP_STORED, ZipStream

    client = boto(options)
    size = 0

    def content(key: str) -> Any:
        nonlocal size
        for block in client.get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(1 << 20):
            size += len(block)
            yield block

    class Reader:
        def __init__(self, blocks: Any) -> None:
            self._blocks, self._rest = iter(blocks), b""

        def read(self, most: int = -1) -> bytes:
            while most < 0 or len(self._rest) < most:
                block = next(self._blocks, b"")
                if not block:
                    break
                self._rest += block
            result, self._rest = self._rest[:most], self._rest[most:]
            return result

    def run() -> int:
        archive = ZipStream(compress_type=ZIP_STORED)
        for file_id in range(options.first, options.first + options.count):
            archive.add(content(str(file_id)), f"{file_id}.bin")
        client.upload_fileobj(Reader(archive), ARCHIVES, "zipstream.zip")
        return size

    return run


def copy(options: argparse.Namespace) -> Callable[[], int]:
    """Bare server-side copies of the same bytes; no archive comes of it."""
    from concurrent.futures import ThreadPoolExecutor

    from common.object_storage import ObjectStorage

    store = ObjectStorage(
        endpoint=options.endpoint,
        region="us-east-1",
        access_key=options.key,
        secret_key=options.secret,
    )

    def run() -> int:
        upload_id = store.create_multipart_upload(ARCHIVES, "copy")
        ranges = [
            (str(file_id), start, min(PART, options.size - start))
            for file_id in range(options.first, options.first + options.count)
            for start in range(0, options.size, PART)
        ]

        def one(item: tuple[int, tuple[str, int, int]]) -> Any:
            number, (key, start, length) = item
            return store.upload_part_copy(
                ARCHIVES, "copy", upload_id, number,
                source=(BUCKET, key), start=start, length=length, if_match=None,
            )  # fmt: skip

        with ThreadPoolExecutor(options.width) as pool:
            parts = list(pool.map(one, enumerate(ranges, start=1)))
        store.complete_multipart_upload(ARCHIVES, "copy", upload_id, parts)
        return 0

    return run


CONTENDERS = {
    "longhaul": longhaul,
    "written": longhaul,
    "unsized": longhaul,
    "zipstream": zipstream,
    "copy": copy,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=list(CONTENDERS))
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--width", type=int, default=6)
    options = parser.parse_args()
    run = CONTENDERS[options.contender](options)
    idle, started, cpu = status("VmRSS"), time.perf_counter(), time.process_time()
    through = run()
    print(
        json.dumps(
            {
                "cpu": time.process_time() - cpu,
                "wall": time.perf_counter() - started,
                "peak": status("VmHWM"),
                "idle": idle,
                "through": through,
            }
        )
    )


if __name__ == "__main__":
    main()
