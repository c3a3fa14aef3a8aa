"""The disk of the S3 server is full: jobs wait until there is space, and none fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System

#: Bytes of the disk (SeaweedFS keeps a gigabyte free for each volume), and seconds without space.
SIZE = 40 * 2**30
FULL = 12.0

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a sparse file as the disk of the S3 server of a system in ``tmp_path``."""
    image, mounted = tmp_path / "image", tmp_path / "s3"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    for command in (
        ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(mounted)],
    ):
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("cannot create and mount a file system")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)
    image.unlink()


def fill(disk: Path) -> Path:
    """Use up all space, without writing that much."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - 2**24)
        file.seek(0, os.SEEK_END)
        with suppress(OSError):
            while file.write(bytes(65_536)):
                file.flush()
    return ballast


def test_jobs_wait_for_space_on_a_full_disk(tmp_path: Path, disk: Path) -> None:
    system = System(tmp_path, files=SMALL, workers=1)
    with system, httpx.Client(base_url=system.base_url, timeout=30) as http:

        def start(number: int) -> str:
            ids = [sample.file_id for sample in SMALL]
            response = http.post(
                "/v1/download/initiate",
                json={"file_ids": ids[number:] + ids[:number]},
                headers={"X-User-Id": f"user-{number}"},
            )
            assert response.status_code == 202, response.text
            return str(response.json()["jobId"])

        def state(job_id: str) -> str:
            return str(http.get(f"/v1/download/status/{job_id}").json()["status"])

        first = start(0)
        wait_until(lambda: state(first) == "completed", "a job on an empty disk", 60)
        ballast = fill(disk)
        assert shutil.disk_usage(disk).free < 65_536
        jobs = [start(number) for number in range(1, 6)]
        time.sleep(FULL)
        states = {state(job_id) for job_id in jobs}
        assert states <= {"queued", "processing"}, states
        ballast.unlink()
        freed = time.monotonic()
        wait_until(lambda: {state(j) for j in jobs} == {"completed"}, "all jobs", 90)
        print(f"\nall completed {time.monotonic() - freed:.1f} s after there was space again")
