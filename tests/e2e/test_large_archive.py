"""Archives larger than memory: ``make test-large`` asks for them, for they need 30 GB of disk."""

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
from stack.process import free_port
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
#: An attempt may take as long as a loaded machine needs.
PATIENT = {"JOB_DEADLINE": "2000", "METRICS_PORT": "0"}


@pytest.fixture(scope="module")
def composing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    state = tmp_path_factory.mktemp("composing")
    with System(state, files=(), env=PATIENT) as system:
        fill(system, SIZES)
        yield system
    shutil.rmtree(state)


@pytest.fixture(params=["written", "streamed"])
def streaming(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Every byte passes the worker, of files whose size is known or is not."""
    state, env = tmp_path_factory.mktemp(request.param), dict(PATIENT)
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
    """The composed archive of all files, downloaded by its link."""
    job = built_in_little_memory(composing)
    folder = tmp_path_factory.mktemp("nine")
    path = folder / "archive.zip"
    with path.open("wb") as file, httpx.stream("GET", job["downloadUrl"], timeout=120) as answer:
        for block in answer.iter_raw(8 * MIB):
            file.write(block)
    assert path.stat().st_size == job["fileSize"] > sum(SIZES)
    yield path
    shutil.rmtree(folder)


def built_in_little_memory(system: System) -> dict[str, Any]:
    """Build files 1 to 5 with less than 200 MiB of the worker's memory."""
    pid = system.processes[system.workers[0]].pid
    idle, started = resident_mib(pid), time.monotonic()
    with Client(system) as client, peak_memory(pid) as peak:
        job = client.until_done(client.post(range(1, 6))["jobId"])
    seconds = time.monotonic() - started
    print(f"{job['fileSize'] / GIB:.1f} GiB: {seconds:.1f} s, {idle:.0f} to {peak[0]:.0f} MiB")
    assert peak[0] < 200
    return job


def test_five_gib_pass_the_worker_in_less_than_200_mib_of_memory(streaming: System) -> None:
    built_in_little_memory(streaming)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_nine_gib_with_a_member_of_five_are_read_back(
    nine_gib: Path, tool: Callable[[Path, int], None]
) -> None:
    started = time.monotonic()
    tool(nine_gib, len(SIZES))
    print(f"{tool.__name__}: {time.monotonic() - started:.1f} s")


def test_after_kill_9_in_two_gib_the_next_worker_skips_what_was_done(composing: System) -> None:
    with Client(composing) as client:
        job_id = client.post([1, 2])["jobId"]
        while (job := client.job(job_id))["processedBytes"] is None or job["processedBytes"] < GIB:
            assert job["status"] in {"queued", "processing"}, "over before it could be killed"
            time.sleep(0.1)
        composing.kill_component(composing.workers[0])
        port = free_port()
        second = composing.add_worker(METRICS_PORT=str(port))
        finished = client.until_done(job_id)
    told = _composed(composing.log(second))
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    counted = _metric(metrics, 'longhaul_archive_bytes_total{method="resumed"}')
    print(f"killed at {job['processedBytes']} bytes; {told}; counted as resumed: {counted:.0f}")
    assert finished["attempt"] == 2
    assert finished["fileSize"] > 2 * GIB
    # What the heartbeat had told was in the store; at most one part for each thread is done anew.
    assert told["resumed"] >= job["processedBytes"]
    assert told["copied"] <= 2 * GIB - told["resumed"] + PART
    assert counted == told["resumed"]
    assert _leftovers(composing) == []


def _composed(log: Path) -> dict[str, int]:
    """How many bytes went which way, as the worker's log tells it."""
    for line in log.read_text().splitlines():
        if '"archive composed"' in line:
            entry = json.loads(line)
            return {way: entry[way] for way in ("copied", "through_worker", "resumed")}
    raise AssertionError("nothing was composed")


def _metric(page: str, name: str) -> float:
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(name))


def _leftovers(system: System) -> list[str]:
    store = ObjectStorage(
        endpoint=system.s3_endpoint,
        region="us-east-1",
        access_key=system.env["AWS_ACCESS_KEY_ID"],
        secret_key=system.env["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        strays = [o.key for o in store.list_objects_v2("archives") if "/parts/" in o.key]
        return strays + [upload.key for upload in store.list_multipart_uploads("archives", "")]
    finally:
        store.close()
