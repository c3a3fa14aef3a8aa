"""A catalogue put into the running stack, and archives of it fetched and checked, all from outside.

``python -m deploy.podman.prove``, with the variables of ``.env`` in the environment.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import httpx
from botocore.config import Config

from client import Longhaul

API = f"http://127.0.0.1:{os.environ.get('HTTP_PORT', '8080')}"
STORAGE = f"http://127.0.0.1:{os.environ.get('S3_PORT', '8333')}"
SIZE = 12 * 1024 * 1024
JOBS = 12
FILES_A_JOB = 3


def content(file_id: int) -> bytes:
    return random.Random(file_id).randbytes(SIZE)  # noqa: S311


def fill(file_ids: Iterable[int]) -> None:
    storage = boto3.client(
        "s3",
        endpoint_url=STORAGE,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    for file_id in file_ids:
        storage.put_object(Bucket="files", Key=str(file_id), Body=content(file_id))


def download(number: int) -> str:
    """One job, watched through nginx, its archive fetched from the storage and compared."""
    wanted = [number * FILES_A_JOB + n for n in range(1, FILES_A_JOB + 1)]
    with Longhaul(API, user=f"user-{number}") as longhaul, tempfile.TemporaryDirectory() as home:
        job = longhaul.wait(longhaul.start(wanted).job_id)
        archive = Path(home) / "archive.zip"
        longhaul.download(job, archive)
        with zipfile.ZipFile(archive) as opened:
            found = {hashlib.sha256(opened.read(name)).digest() for name in opened.namelist()}
        if found != {hashlib.sha256(content(file_id)).digest() for file_id in wanted}:
            raise SystemExit(f"job {job.job_id}: the archive differs from its sources")
        return f"{job.job_id} {job.file_size} bytes"


def check_the_doors() -> None:
    """What has to be shut is shut, and what has to be open is open."""
    for path, status in {"/metrics": 404, "/v1/admin/dead-letters": 404, "/health": 200}.items():
        answer = httpx.get(f"{API}{path}")
        if answer.status_code != status:
            raise SystemExit(f"{path}: {answer.status_code} instead of {status}")
    unsigned = httpx.get(f"{STORAGE}/files/1")
    if unsigned.status_code != httpx.codes.FORBIDDEN:
        raise SystemExit(f"the storage answers {unsigned.status_code} to an unsigned request")


def main() -> None:
    fill(range(1, JOBS * FILES_A_JOB + 1))
    check_the_doors()
    with ThreadPoolExecutor(JOBS) as pool:
        for line in pool.map(download, range(JOBS)):
            print(line)


if __name__ == "__main__":
    main()
