"""The whole system on a job store of several servers, one of which dies under load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System
from tests.support import rabbitmq
from tests.support.valkey_topologies import Node, cluster, sentinels

JOBS = 12


@pytest.mark.timeout(240)
def test_jobs_survive_the_death_of_a_primary_with_sentinels(tmp_path: Path) -> None:
    with sentinels(tmp_path / "sentinels") as (url, nodes):
        system = System(tmp_path / "system", files=SMALL, workers=0)
        system.env["REDIS_URL"] = url
        _run(system, nodes)


@pytest.mark.timeout(240)
def test_jobs_survive_the_death_of_a_cluster_node(tmp_path: Path) -> None:
    with ExitStack() as held:
        url, nodes = held.enter_context(cluster(tmp_path / "cluster"))
        system = System(tmp_path / "system", files=SMALL, workers=0)
        # Without RabbitMQ, the broker is the Valkey that would otherwise be the job store.
        broker = system.redis_url
        if rabbitmq.installed():
            (tmp_path / "rabbitmq").mkdir()
            broker = held.enter_context(rabbitmq.rabbitmq(tmp_path / "rabbitmq"))
        system.env.update(REDIS_URL=url, BROKER_URL=broker)
        _run(system, nodes)


def _run(system: System, nodes: Sequence[Node]) -> None:
    """Post jobs before, during and after the death of a primary. Every accepted one completes."""
    with system, httpx.Client(base_url=system.base_url, timeout=30) as http:
        system.add_worker()
        jobs = [_start(http, f"before-{number}") for number in range(JOBS)]
        wait_until(lambda: _completed(http, jobs) >= JOBS // 2, "the first jobs", timeout=60)
        nodes[0].process.kill()
        killed = time.monotonic()
        late: list[str] = []

        def accepted() -> bool:
            started = time.monotonic()
            try:
                late.append(_start(http, f"after-{len(late)}"))
            except AssertionError:
                assert time.monotonic() - started < 5
                return False
            return len(late) >= JOBS

        wait_until(accepted, "new jobs", timeout=60)
        print(f"\n{JOBS} jobs accepted {time.monotonic() - killed:.1f} s after the death")
        wait_until(lambda: _completed(http, late) == len(late), "the later jobs", timeout=60)
        # Replication is asynchronous: a job accepted in the last moment may be lost, and one that
        # ended then may have to run again, but none stays unfinished.
        wait_until(
            lambda: {_status(http, job) for job in jobs} <= {"completed", "unknown"},
            "the earlier jobs",
            timeout=60,
        )
        states = [_status(http, job) for job in jobs]
        print(f"all completed {time.monotonic() - killed:.1f} s after the death: {states}")
        assert states.count("unknown") <= 1


def _start(http: httpx.Client, user: str) -> str:
    file_ids = [sample.file_id for sample in SMALL][:3]
    response = http.post(
        "/v1/download/initiate", json={"file_ids": file_ids}, headers={"X-User-Id": user}
    )
    assert response.status_code == 202, response.text
    return str(response.json()["jobId"])


def _status(http: httpx.Client, job_id: str) -> str:
    response = http.get(f"/v1/download/status/{job_id}")
    return "unknown" if response.status_code == 404 else str(response.json()["status"])


def _completed(http: httpx.Client, jobs: Sequence[str]) -> int:
    return sum(_status(http, job) == "completed" for job in jobs)
