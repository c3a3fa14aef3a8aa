"""Archives larger than memory. They need 30 GB of disk, so only ``make test-large`` runs them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.object_storage import ObjectStorage
from stack.system import System
from tests.support.large_files import (
    GIB,
    MIB,
    PART,
    Client,
    chunked_origin,
    fill,
    peak_memory,
    resident_mib,
)
from tests.support.zip_tools import TOOLS

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("LARGE"), reason="needs 30 GB of disk and minutes: run make test-large"
    ),
    pytest.mark.timeout(2400),
]

#: Four files of 1 GiB and one of 5.
SIZES = [GIB, GIB, GIB, GIB, 5 * GIB]
#: A deadline that also suffices on a loaded machine.
LONG_DEADLINE = {"JOB_DEADLINE": "2000", "METRICS_PORT": "0"}


@pytest.fixture(scope="module")
def composing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    state = tmp_path_factory.mktemp("composing")
    with System(state, files=(), env=LONG_DEADLINE) as system:
        fill(system, SIZES)
        yield system
    shutil.rmtree(state)


@pytest.fixture(params=["written", "streamed"])
def streaming(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A system whose workers transfer every byte, with files of known or of unknown size."""
    state, env = tmp_path_factory.mktemp(request.param), dict(LONG_DEADLINE)
    with ExitStack() as stack:
        if request.param == "streamed":
            env["SOURCE_URL_TEMPLATE"] = stack.enter_context(chunked_origin(GIB)) + "/{file_id}"
        else:
            env["COMPOSE_ARCHIVES"] = "false"
        system = stack.enter_context(System(state, files=(), env=env))
        if request.param == "written":
            fill(system, [GIB] * 5)
        yield system
    shutil.rmtree(state)


@pytest.fixture(scope="module")
def nine_gib(composing: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The composed archive of all files, downloaded from its URL."""
    job = build_in_little_memory(composing)
    folder = tmp_path_factory.mktemp("nine")
    path = folder / "archive.zip"
    with path.open("wb") as file, httpx.stream("GET", job["downloadUrl"], timeout=120) as response:
        for block in response.iter_raw(8 * MIB):
            file.write(block)
    assert path.stat().st_size == job["fileSize"] > sum(SIZES)
    yield path
    shutil.rmtree(folder)


def build_in_little_memory(system: System) -> dict[str, Any]:
    """Build an archive of files 1 to 5; fail if the worker uses 200 MiB of memory or more."""
    pid = system.processes[system.workers[0]].pid
    idle, started = resident_mib(pid), time.monotonic()
    with Client(system) as client, peak_memory(pid) as peak:
        job = client.wait_until_completed(client.post(range(1, 6))["jobId"])
    seconds = time.monotonic() - started
    print(f"{job['fileSize'] / GIB:.1f} GiB: {seconds:.1f} s, {idle:.0f} to {peak[0]:.0f} MiB")
    assert peak[0] < 200
    return job


def test_a_worker_transfers_five_gib_in_less_than_200_mib_of_memory(streaming: System) -> None:
    build_in_little_memory(streaming)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_zip_tools_read_an_archive_of_nine_gib_with_a_member_of_five(
    nine_gib: Path, tool: Callable[[Path, int], None]
) -> None:
    started = time.monotonic()
    tool(nine_gib, len(SIZES))
    print(f"{tool.__name__}: {time.monotonic() - started:.1f} s")


def test_the_next_worker_reuses_the_parts_of_a_killed_one(composing: System) -> None:
    with Client(composing) as client:
        job_id = client.post([1, 2])["jobId"]
        while (job := client.job(job_id))["processedBytes"] is None or job["processedBytes"] < GIB:
            assert job["status"] in {"queued", "processing"}, (
                "the job ended before the worker was killed"
            )
            time.sleep(0.1)
        composing.kill_component(composing.workers[0])
        second = composing.add_worker()
        finished = client.wait_until_completed(job_id)
    composed = _log_of_composed(composing.log(second))
    metrics = httpx.get(f"{composing.base_url}/metrics", headers=composing.operator).text
    resumed_bytes = _metric(metrics, 'longhaul_archive_bytes_total{method="resumed"}')
    print(f"killed at {job['processedBytes']} bytes; {composed}; resumed: {resumed_bytes:.0f}")
    assert finished["attempt"] == 2
    assert finished["fileSize"] > 2 * GIB
    # The heartbeat had stored this progress. It counts the bytes of a part that the worker writes
    # while they are read, so that such parts may have to be written again, but none copied.
    assert composed["resumed"] + composed["through_worker"] >= job["processedBytes"]
    assert composed["copied"] <= 2 * GIB - composed["resumed"] + PART
    assert resumed_bytes == composed["resumed"]
    assert _temporary_objects(composing) == []


def _log_of_composed(log: Path) -> dict[str, int]:
    """Return from the worker's log how many bytes each method contributed."""
    for line in log.read_text().splitlines():
        if '"archive composed"' in line:
            entry = json.loads(line)
            return {method: entry[method] for method in ("copied", "through_worker", "resumed")}
    raise AssertionError("no archive was composed")


def _metric(page: str, name: str) -> float:
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(name))


def _temporary_objects(system: System) -> list[str]:
    storage = ObjectStorage(
        endpoint=system.s3_endpoint,
        region="us-east-1",
        access_key=system.env["AWS_ACCESS_KEY_ID"],
        secret_key=system.env["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        parts = [o.key for o in storage.list_objects_v2("archives") if "/parts/" in o.key]
        return parts + [upload.key for upload in storage.list_multipart_uploads("archives", "")]
    finally:
        storage.close()
