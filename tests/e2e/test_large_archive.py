"""Archives larger than memory: ``make test-large`` asks for them, for they need 12 GB of disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stack.catalogue import BUCKET, s3_client
from stack.system import System

GIB = 1024**3
MEMBERS = 5

pytestmark = pytest.mark.skipif(
    not os.environ.get("LARGE"), reason="needs 12 GB of disk and minutes: run make test-large"
)


@pytest.fixture(scope="module", params=["true", "false"], ids=["composed", "streamed"])
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    env = {"COMPOSE_ARCHIVES": request.param}
    with System(tmp_path_factory.mktemp("large"), files=(), env=env) as running:
        _fill(running)
        yield running


def _fill(system: System) -> None:
    """Five files of 1 GiB, each by copies of one part that is sent once."""
    s3 = s3_client(system.s3_endpoint)
    part = os.urandom(64 * 1024**2)
    s3.put_object(Bucket=BUCKET, Key="part", Body=part)
    for number in range(MEMBERS):
        key = str(number + 1)
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
        parts = []
        for index in range(1, GIB // len(part) + 1):
            copied = s3.upload_part_copy(
                Bucket=BUCKET,
                Key=key,
                UploadId=upload,
                PartNumber=index,
                CopySource=f"{BUCKET}/part",
            )["CopyPartResult"]
            parts.append({"PartNumber": index, "ETag": copied["ETag"]})
        s3.complete_multipart_upload(
            Bucket=BUCKET,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
        )


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


@pytest.mark.timeout(900)
def test_five_gib_are_built_with_less_than_200_mib_of_memory(system: System) -> None:
    pid = system.processes[system.workers[0]].pid
    peak = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], resident_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    with httpx.Client(base_url=system.base_url, timeout=70) as http:
        body = {"file_ids": list(range(1, MEMBERS + 1))}
        job = http.post("/v1/download/initiate", json=body).json()
        while job["status"] in {"queued", "processing"}:
            job = http.get(job.get("statusUrl") or f"/v1/download/status/{job['jobId']}").json()
            time.sleep(0.2)
    over.set()
    watcher.join()
    print(f"{time.monotonic() - started:.1f} s, peak {peak[0]:.0f} MiB")
    assert job["status"] == "completed", job
    assert job["fileSize"] > MEMBERS * GIB
    assert peak[0] < 200
