"""Upload sample files to the running containers, then download and verify archives from outside.

Run ``python -m deploy.podman.smoke_test`` with the variables of ``.env`` in the environment.
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

from longhaul_client import Longhaul

API = f"http://127.0.0.1:{os.environ.get('HTTP_PORT', '8080')}"
OBJECT_STORAGE = f"http://127.0.0.1:{os.environ.get('S3_PORT', '8333')}"
FILE_SIZE = 12 * 1024 * 1024
JOBS = 12
FILES_PER_JOB = 3


def file_content(file_id: int) -> bytes:
    return random.Random(file_id).randbytes(FILE_SIZE)  # noqa: S311


def upload_files(file_ids: Iterable[int]) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=OBJECT_STORAGE,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    for file_id in file_ids:
        s3.put_object(Bucket="files", Key=str(file_id), Body=file_content(file_id))


def download_archive(number: int) -> str:
    """Run one job through nginx, download its archive and compare it with the source files."""
    file_ids = [number * FILES_PER_JOB + n for n in range(1, FILES_PER_JOB + 1)]
    with Longhaul(API, user=f"user-{number}") as longhaul, tempfile.TemporaryDirectory() as folder:
        job = longhaul.wait(longhaul.start(file_ids).job_id)
        path = Path(folder) / "archive.zip"
        longhaul.download(job, path)
        with zipfile.ZipFile(path) as archive:
            actual = {hashlib.sha256(archive.read(name)).digest() for name in archive.namelist()}
        if actual != {hashlib.sha256(file_content(file_id)).digest() for file_id in file_ids}:
            raise SystemExit(f"job {job.job_id}: the archive differs from its source files")
        return f"{job.job_id} {job.file_size} bytes"


def check_access_from_outside() -> None:
    """Check that only public endpoints are reachable from outside."""
    expected = {"/metrics": 404, "/v1/admin/dead-letters": 404, "/health": 404, "/health/live": 200}
    for path, status in expected.items():
        response = httpx.get(f"{API}{path}")
        if response.status_code != status:
            raise SystemExit(f"{path}: expected {status}, got {response.status_code}")
    unsigned = httpx.get(f"{OBJECT_STORAGE}/files/1")
    if unsigned.status_code != httpx.codes.FORBIDDEN:
        raise SystemExit(f"unsigned request to S3: expected 403, got {unsigned.status_code}")


def main() -> None:
    upload_files(range(1, JOBS * FILES_PER_JOB + 1))
    check_access_from_outside()
    with ThreadPoolExecutor(JOBS) as pool:
        for line in pool.map(download_archive, range(JOBS)):
            print(line)


if __name__ == "__main__":
    main()
