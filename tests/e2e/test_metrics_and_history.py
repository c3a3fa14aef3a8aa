"""Metrics are right with several processes of each kind, and history records finished jobs."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stack.process import free_port, wait_until
from stack.sample_catalog import SMALL
from stack.system import System

JOBS = 6


def read_metrics(url: str, headers: dict[str, str] | None = None) -> dict[tuple[str, ...], float]:
    """Return the values of all samples by (name, label values…)."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(
            httpx.get(url, headers=headers, timeout=10).text
        )
        for sample in family.samples
    }


@pytest.mark.timeout(180)
def test_every_api_process_reports_the_metrics_of_all(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    port = free_port()
    api_port = free_port()
    env = {
        "WEB_CONCURRENCY": "2",
        "METRICS_PORT": str(port),
        "API_METRICS_PORT": str(api_port),
    }
    state = tmp_path_factory.mktemp("metrics")
    with System(state, workers=2, files=SMALL, env=env) as system:
        for number in range(JOBS):
            # A new connection for each request, so that both processes of the API get some.
            response = httpx.post(
                f"{system.base_url}/v1/download/initiate",
                json={"file_ids": [10001, 10002], "priority": "high"},
                headers={"X-User-Id": f"user-{number}", "Prefer": "wait=30"},
                timeout=40,
            )
            assert response.json()["status"] == "completed"

        scrapes = [
            *(read_metrics(f"{system.base_url}/metrics", system.operator) for _ in range(6)),
            *(read_metrics(f"http://127.0.0.1:{api_port}/metrics") for _ in range(6)),
        ]
        assert {scrape["longhaul_jobs_requested_total", "created"] for scrape in scrapes} == {JOBS}
        assert {scrape["longhaul_jobs_ended_total", "completed"] for scrape in scrapes} == {JOBS}
        assert {scrape["longhaul_worker_slots",] for scrape in scrapes} == {8}

        # Both workers have the same METRICS_PORT: the second one runs without metrics.
        worker = read_metrics(f"http://127.0.0.1:{port}/metrics")
        assert worker["longhaul_worker_process_slots",] == 4
        done = worker.get(("longhaul_attempts_total", "completed", ""), 0)
        assert 0 <= done <= JOBS
        logs = [system.log(name).read_text() for name in system.workers]
        assert sum("metrics not served" in log for log in logs) == 1

        def recorded() -> int:
            url = f"{system.base_url}/v1/admin/analytics?hours=2"
            response = httpx.get(url, headers=system.operator, timeout=10)
            return sum(hour["completed"] for hour in response.json()["hours"])

        wait_until(lambda: recorded() == JOBS, "history")
