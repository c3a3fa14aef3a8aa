"""Jobs of many users, first without a worker: all finish, and each runs only once."""

from __future__ import annotations

import io
import shutil
import statistics
import subprocess
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from stack.sample_catalog import SMALL
from stack.system import System

USERS, JOBS = 50, 200


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    env = {"CREATE_PER_MINUTE_IP": "100000", "REQUESTS_PER_MINUTE_IP": "1000000"}
    with System(tmp_path_factory.mktemp("load"), workers=0, files=SMALL, env=env) as running:
        yield running


def post(http: httpx.Client, number: int) -> tuple[str, float]:
    """Post a job. Return its status URL and the seconds until the response."""
    # The order of the files differs between the jobs of a user, so that no two are identical.
    ids = [sample.file_id for sample in SMALL]
    rotated = ids[number % len(ids) :] + ids[: number % len(ids)]
    started = time.perf_counter()
    response = http.post(
        "/v1/download/initiate",
        json={"file_ids": rotated, "metadata": {"number": number}},
        headers={"X-User-Id": f"user-{number % USERS}"},
    )
    seconds = time.perf_counter() - started
    assert response.status_code == 202, response.text
    return str(response.json()["statusUrl"]), seconds


def wait_until_finished(http: httpx.Client, url: str) -> dict[str, object]:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        job: dict[str, object] = http.get(url, params={"wait": 20}).json()
        if job["status"] not in {"queued", "processing"}:
            return job
    raise AssertionError(f"{url} was not finished in time: {job}")


def verify(url: str, path: Path) -> None:
    """Check an archive with ``unzip -t``, if installed, and its bytes against the samples."""
    path.write_bytes(httpx.get(url, timeout=60).content)
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tqq", path], check=True)
    archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    assert archive.testzip() is None
    assert {info.filename: archive.read(info) for info in archive.infolist()} == {
        sample.name: sample.make() for sample in SMALL
    }


@pytest.mark.timeout(300)
def test_two_hundred_jobs_of_fifty_users_finish_in_one_attempt_each(
    system: System, tmp_path: Path
) -> None:
    with httpx.Client(base_url=system.base_url, timeout=40) as http:
        with ThreadPoolExecutor(8) as posters:
            waiting = list(posters.map(lambda n: post(http, n), range(JOBS // 2)))
        # All were accepted without a worker. The rest arrives while the workers are busy.
        system.add_worker()
        system.add_worker()
        busy = [post(http, n) for n in range(JOBS // 2, JOBS)]
        with ThreadPoolExecutor(8) as watchers:
            done = list(watchers.map(lambda job: wait_until_finished(http, job[0]), waiting + busy))
        stats = http.get("/v1/download/queue/stats").json()
        links = sorted({str(job["downloadUrl"]).split("?")[0]: job for job in done}.items())
        for number, (_, job) in enumerate(links):
            verify(str(job["downloadUrl"]), tmp_path / f"{number}.zip")
    assert {job["status"] for job in done} == {"completed"}
    assert {job["attempt"] for job in done} == {1}
    assert stats["completed"] == JOBS
    assert stats["totalWaiting"] == stats["processing"] == stats["failed"] == 0
    p99 = statistics.quantiles([seconds for _, seconds in busy], n=100)[98]
    print(f"POST to busy workers, p99: {p99 * 1000:.1f} ms")
