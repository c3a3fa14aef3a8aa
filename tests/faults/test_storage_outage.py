"""The storage is unavailable for a while: jobs take longer, and that is all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import httpx
import pytest

from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System
from tests.support.tcp_proxy import TcpProxy

JOBS = 20
#: Seconds for which the storage is unavailable.
OUTAGE = float(os.environ.get("OUTAGE_SECONDS", "10"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, TcpProxy]]:
    system = System(tmp_path_factory.mktemp("system"), files=SMALL, workers=0)
    line = TcpProxy(int(system.s3_endpoint.rpartition(":")[2]))
    system.env["S3_ENDPOINT_URL"] = f"http://127.0.0.1:{line.port}"
    with line, system:
        for _ in range(2):
            system.add_worker()
        yield system, line


@pytest.mark.timeout(90 + 3 * OUTAGE)
@pytest.mark.parametrize(("fault", "first"), [("refuse", 0), ("hold", JOBS)])
def test_jobs_survive_an_outage_of_the_storage_without_using_up_their_attempts(
    running: tuple[System, TcpProxy], fault: str, first: int
) -> None:
    system, line = running
    # All jobs differ, or one would find the archive of another.
    requested = list(permutations([sample.file_id for sample in SMALL], 3))[first : first + JOBS]
    with httpx.Client(base_url=system.base_url, timeout=30) as http:
        line.slow(200_000)
        jobs = [
            _start(http, f"{fault}-{number}", file_ids) for number, file_ids in enumerate(requested)
        ]
        wait_until(lambda: _states(http, jobs).count("processing") >= 4, "running jobs")
        getattr(line, fault)()
        time.sleep(OUTAGE)
        states = _states(http, jobs)
        assert "failed" not in states
        assert states.count("completed") < JOBS
        line.restore()
        restored = time.monotonic()
        wait_until(
            lambda: all(state == "completed" for state in _states(http, jobs)), "all jobs", 60
        )
        print(f"\n{fault}: all of {JOBS} completed {time.monotonic() - restored:.1f} s afterwards")
        attempts = [_status(http, job)["attempt"] for job in jobs]
        assert max(attempts) <= 2, attempts


def _start(http: httpx.Client, user: str, file_ids: Sequence[int]) -> str:
    response = http.post(
        "/v1/download/initiate", json={"file_ids": file_ids}, headers={"X-User-Id": user}
    )
    assert response.status_code == 202, response.text
    return str(response.json()["jobId"])


def _status(http: httpx.Client, job_id: str) -> dict[str, Any]:
    return dict(http.get(f"/v1/download/status/{job_id}").json())


def _states(http: httpx.Client, jobs: list[str]) -> list[str]:
    return [_status(http, job)["status"] for job in jobs]
