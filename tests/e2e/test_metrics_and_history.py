"""Figures are right with several processes of each kind, and jobs end up in history."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stack.process import free_port, wait_until
from stack.sample_catalog import SMALL
from stack.system import System

JOBS = 6


def figures(url: str) -> dict[tuple[str, ...], float]:
    """(name, label values…) -> value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(httpx.get(url, timeout=10).text)
        for sample in family.samples
    }


@pytest.mark.timeout(180)
def test_whichever_process_is_asked_tells_of_all(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    port = free_port()
    env = {"WEB_CONCURRENCY": "2", "METRICS_PORT": str(port)}
    state = tmp_path_factory.mktemp("sight")
    with System(state, workers=2, files=SMALL, env=env) as system:
        for number in range(JOBS):
            # A connection each, so that both processes of the API get some.
            answer = httpx.post(
                f"{system.base_url}/v1/download/initiate",
                json={"file_ids": [10001, 10002], "priority": "high"},
                headers={"X-User-Id": f"user-{number}", "Prefer": "wait=30"},
                timeout=40,
            )
            assert answer.json()["status"] == "completed"

        told = [figures(f"{system.base_url}/metrics") for _ in range(8)]
        assert {found["longhaul_jobs_requested_total", "created"] for found in told} == {JOBS}
        assert {found["longhaul_jobs_ended_total", "completed"] for found in told} == {JOBS}
        assert {found["longhaul_worker_slots",] for found in told} == {8}

        # Both workers were given one port: the first has it, the other works without.
        worker = figures(f"http://127.0.0.1:{port}/metrics")
        assert worker["longhaul_worker_process_slots",] == 4
        done = worker.get(("longhaul_attempts_total", "completed", ""), 0)
        assert 0 <= done <= JOBS
        logs = [system.log(name).read_text() for name in system.workers]
        assert sum("this worker shows no metrics" in log for log in logs) == 1

        def recorded() -> int:
            answer = httpx.get(f"{system.base_url}/v1/admin/analytics?hours=2", timeout=10)
            return sum(hour["completed"] for hour in answer.json()["hours"])

        wait_until(lambda: recorded() == JOBS, "history")
