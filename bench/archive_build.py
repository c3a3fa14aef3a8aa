"""Builds one archive in a process of its own, so that CPU time and memory are those of the build.

Prints a JSON object: wall and CPU seconds, the peak memory of the process and its memory before the
build (bytes), and the bytes that passed through the process.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

BUCKET, ARCHIVES = "files", "archives"
PART = 64 * 1024 * 1024
#: Threads of the contender that reads ahead, and what each reads at a time.
READERS, READ_AHEAD = 16, 8 * 1024 * 1024


def status(name: str) -> int:
    """Return a value of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def longhaul(options: argparse.Namespace) -> Callable[[], int]:
    """Return a build with Longhaul's engine.

    As ``written`` without copies, as ``unsized`` with files of unknown size.
    """
    from common.jobs.model import OnMissing
    from common.object_storage import ObjectStorage, StorageProfile
    from common.sources import source_from_template
    from worker.archive import BuildOptions, BuildRequest, build
    from worker.attempt.control import AttemptControl

    through = 0

    def count(_: Any, __: str, event: Any) -> Any:
        nonlocal through
        through += event.get("through_worker", 0)
        raise structlog.DropEvent

    structlog.configure(processors=[count])
    storage = ObjectStorage(
        endpoint=options.endpoint,
        region="us-east-1",
        access_key=options.key,
        secret_key=options.secret,
    )
    storage.profile = StorageProfile.from_dict(json.loads(options.profile)) or storage.profile
    source: Any = source_from_template(f"s3://{BUCKET}/{{file_id}}", storage=storage)
    if options.contender == "unsized":
        source = Unsized(source, options.size)
    request = BuildRequest(
        job_id=str(uuid.uuid4()),
        fencing_token=1,
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
            storage=storage,
            control=AttemptControl(deadline=3600),
            options=BuildOptions(can_copy=options.contender != "written"),
        )
        return artifact.size if options.contender == "unsized" else through

    return run


class Unsized:
    """Files of another source without sizes and versions, as with some HTTP origins."""

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
    """Return a build with the usual tools.

    They are zipstream-ng, fed one file after the other, and boto3's upload_fileobj.
    """
    client = boto(options)

    def content(key: str) -> Iterator[bytes]:
        yield from client.get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(1 << 20)

    return _upload_zip(options, client, {key: content(key) for key in _keys(options)})


def zipstream16(options: argparse.Namespace) -> Callable[[], int]:
    """Return a build with the same tools and 16 threads that read ahead."""
    from concurrent.futures import Future, ThreadPoolExecutor

    client = boto(options)
    pool = ThreadPoolExecutor(READERS)
    ranges = (
        (key, start, min(READ_AHEAD, options.size - start))
        for key in _keys(options)
        for start in range(0, options.size, READ_AHEAD)
    )
    pending: deque[Future[bytes]] = deque()

    def read(key: str, start: int, length: int) -> bytes:
        wanted = f"bytes={start}-{start + length - 1}"
        body = client.get_object(Bucket=BUCKET, Key=key, Range=wanted)["Body"]
        return bytes(body.read())

    def refill() -> None:
        for item in islice(ranges, READERS - len(pending)):
            pending.append(pool.submit(read, *item))

    def content() -> Iterator[bytes]:
        for _ in range(0, options.size, READ_AHEAD):
            refill()
            yield pending.popleft().result()

    return _upload_zip(options, client, {key: content() for key in _keys(options)})


def _keys(options: argparse.Namespace) -> list[str]:
    return [str(file_id) for file_id in range(options.first, options.first + options.count)]


def _upload_zip(
    options: argparse.Namespace, client: Any, files: dict[str, Iterator[bytes]]
) -> Callable[[], int]:
    from zipstream import ZIP_STORED, ZipStream

    class Reader:
        """The file object that upload_fileobj reads."""

        def __init__(self, blocks: Any) -> None:
            self._blocks, self._rest = iter(blocks), b""

        def read(self, size: int = -1) -> bytes:
            blocks, length = [self._rest], len(self._rest)
            while size < 0 or length < size:
                block = next(self._blocks, b"")
                if not block:
                    break
                blocks.append(block)
                length += len(block)
            joined = b"".join(blocks)
            result, self._rest = (joined, b"") if size < 0 else (joined[:size], joined[size:])
            return result

    def run() -> int:
        archive = ZipStream(compress_type=ZIP_STORED)
        for key, content in files.items():
            archive.add(content, f"{key}.bin")
        client.upload_fileobj(Reader(archive), ARCHIVES, "zipstream.zip")
        return int(options.count * options.size)

    return run


def copy(options: argparse.Namespace) -> Callable[[], int]:
    """Return a run that copies the same bytes inside the storage, without building an archive."""
    from concurrent.futures import ThreadPoolExecutor

    from common.object_storage import ObjectStorage

    storage = ObjectStorage(
        endpoint=options.endpoint,
        region="us-east-1",
        access_key=options.key,
        secret_key=options.secret,
    )

    def run() -> int:
        upload_id = storage.create_multipart_upload(ARCHIVES, "copy")
        ranges = [
            (str(file_id), start, min(PART, options.size - start))
            for file_id in range(options.first, options.first + options.count)
            for start in range(0, options.size, PART)
        ]

        def one(item: tuple[int, tuple[str, int, int]]) -> Any:
            number, (key, start, length) = item
            return storage.upload_part_copy(
                ARCHIVES, "copy", upload_id, number,
                source=(BUCKET, key), start=start, length=length, if_match=None,
            )  # fmt: skip

        with ThreadPoolExecutor(options.width) as pool:
            parts = list(pool.map(one, enumerate(ranges, start=1)))
        storage.complete_multipart_upload(ARCHIVES, "copy", upload_id, parts)
        return 0

    return run


CONTENDERS = {
    "longhaul": longhaul,
    "written": longhaul,
    "unsized": longhaul,
    "zipstream": zipstream,
    "zipstream16": zipstream16,
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
    parser.add_argument("--profile", default="{}", help="the storage's profile, in JSON")
    parser.add_argument("--width", type=int, default=8, help="copies at the same time")
    options = parser.parse_args()
    run = CONTENDERS[options.contender](options)
    # As a worker does before its first job.
    gc.collect()
    gc.freeze()
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
