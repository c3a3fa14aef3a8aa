"""The system as tests and `make demo` use it: next to another one, and restarted."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from longhaul_client import ApiProblem, Job, Longhaul
from longhaul_client.watch import WatchTransport
from stack.process import ComponentDied, wait_until
from stack.sample_catalog import SMALL
from stack.system import System

IDS = [sample.file_id for sample in SMALL]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that only this module uses, because its tests break it."""
    with System(tmp_path_factory.mktemp("own"), files=SMALL) as running:
        yield running


def test_two_systems_side_by_side_have_separate_jobs(own: System, system: System) -> None:
    with Longhaul(own.base_url) as mine, Longhaul(system.base_url) as other:
        job = mine.wait(mine.start(IDS).job_id)
        with pytest.raises(ApiProblem) as caught:
            other.status(job.job_id)
    assert caught.value.code == "JOB_NOT_FOUND"


@pytest.mark.parametrize("kill", [False, True], ids=["deploy", "kill -9"])
def test_a_watch_continues_after_the_api_restarts(own: System, kill: bool) -> None:
    for name in own.workers:
        own.stop_component(name)
    with Longhaul(own.base_url, user=f"restart-{kill}") as client, ThreadPoolExecutor(1) as pool:
        job = client.start(IDS)
        watch = client.watch(job.job_id, transports=[WatchTransport.SSE])
        seen: list[Job] = [next(iter(watch))]
        rest = pool.submit(lambda: seen.extend(watch))
        if kill:
            own.kill_component("api")
        else:
            assert own.stop_component("api") == 0
        own.start_component("api")
        own.add_worker()
        rest.result(60)
    versions = [snapshot.version for snapshot in seen]
    assert versions == sorted(set(versions))
    assert seen[-1].status == "completed"


def test_check_reports_a_worker_that_died_but_not_one_that_was_stopped(own: System) -> None:
    own.kill_component(own.add_worker())
    own.check()
    name = own.add_worker()
    own.processes[name].kill()
    with pytest.raises(ComponentDied, match=f"{name} exited unexpectedly with code -9"):
        own.check()
    own.kill_component(name)


def test_a_worker_can_start_while_the_job_store_is_unavailable(own: System) -> None:
    own.kill_component("valkey")
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(own.add_worker)
        wait_until(
            lambda: "Cannot connect" in own.log(own.workers[-1]).read_text(),
            "the connection attempt",
            20,
        )
        own.start_component("valkey")
        assert worker.result(60) == own.workers[-1]


def test_jobs_and_files_survive_a_restart_of_everything(tmp_path: Path) -> None:
    system = System(tmp_path / "state", files=SMALL)
    with system, Longhaul(system.base_url) as client:
        job = client.wait(client.start(IDS).job_id)
    with system, Longhaul(system.base_url) as client:
        assert client.status(job.job_id).checksum == job.checksum
        client.download(job, tmp_path / "out.zip")
        again = client.wait(client.start(IDS[:2]).job_id)
    assert again.processed_files == 2
