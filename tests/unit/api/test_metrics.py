"""Metrics of one process or several, and while the job store is unavailable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog
from common.job_store.worker_registry import WorkerRegistration
from common.jobs.model import JobSpec, Priority
from tests.unit.api.conftest import OPERATOR


def parse(text: str) -> dict[tuple[str, ...], float]:
    """Return values by (name, label values…)."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_queue_metrics_are_grouped_by_priority(
    client: FlaskClient,
    jobs: JobStore,
    redis: Redis,
    worker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # fakeredis has no INFO.
    monkeypatch.setattr("common.job_store.worker_registry._run_id", lambda _: "server")
    for number, priority in enumerate([Priority.HIGH, Priority.NORMAL, Priority.NORMAL]):
        jobs.create(f"user-{number}", JobSpec(file_ids=(1,), priority=priority))
    worker.complete(jobs.create("alice", JobSpec(file_ids=(2,))).job.id)
    worker.claim(jobs.create("alice", JobSpec(file_ids=(3,))).job.id)
    WorkerRegistration(redis, "w1", slots=4, running=lambda: ("one",)).heartbeat()
    StateLog(redis, "history", "h").create_group()
    found = parse(client.get("/metrics", headers=OPERATOR).text)
    assert found["longhaul_job_store_up",] == 1
    assert found["longhaul_jobs_waiting", "high"] == 1
    assert found["longhaul_jobs_waiting", "normal"] == 2
    assert found["longhaul_oldest_wait_seconds", "low"] == 0
    assert found["longhaul_jobs_leased",] == 1
    assert found["longhaul_jobs_ended_total", "completed"] == 1
    assert found["longhaul_worker_slots",] == 4
    assert found["longhaul_worker_slots_busy",] == 1
    assert found["longhaul_state_log_backlog", "history"] >= 1


def test_metrics_are_available_while_the_job_store_is_down(
    client: FlaskClient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: Any, **__: Any) -> Any:
        raise RedisConnectionError

    monkeypatch.setattr(redis, "pipeline", unavailable)
    response = client.get("/metrics", headers=OPERATOR)
    assert response.status_code == 200
    found = parse(response.text)
    assert found["longhaul_job_store_up",] == 0
    assert ("longhaul_jobs_leased",) not in found


def test_paths_do_not_create_series(client: FlaskClient) -> None:
    for number in range(3):
        client.get(f"/v1/download/status/00000000-0000-4000-8000-00000000000{number}")
        client.get(f"/nowhere/{number}")
    routes = {
        labels[1]
        for (name, *labels) in parse(client.get("/metrics", headers=OPERATOR).text)
        if name == "longhaul_http_request_seconds_count"
    }
    assert "/v1/download/status/<job:job_id>" in routes
    assert not any("nowhere" in route or "0000" in route for route in routes)


SEVERAL = """
import os, sys
from api import metrics
metrics.OPEN_STREAMS.labels("named").inc()
metrics.count_job_request("created")
metrics.count_job_request("created")
if os.environ.get("GONE"):
    sys.exit()
if os.environ.get("DEAD"):
    from prometheus_client.multiprocess import mark_process_dead
    mark_process_dead(int(os.environ["DEAD"]))
print(metrics.exposition().decode())
"""


def test_processes_are_summed_and_dead_ones_have_no_open_streams(tmp_path: Path) -> None:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    gone = subprocess.Popen([sys.executable, "-c", SEVERAL], env={**env, "GONE": "1"})
    assert gone.wait(30) == 0
    process = subprocess.run(
        [sys.executable, "-c", SEVERAL],
        env={**env, "DEAD": str(gone.pid)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found = parse(process.stdout)
    assert found["longhaul_jobs_requested_total", "created"] == 4
    assert found["longhaul_open_streams", "named"] == 1


@pytest.mark.parametrize(
    ("port", "method", "path", "status"),
    [
        ("9100", "GET", "/metrics", 200),
        ("9100", "HEAD", "/metrics", 200),
        ("9100", "POST", "/metrics", 404),
        ("9100", "GET", "/v1/download/jobs", 404),
        ("9100", "GET", "/v1/admin/overview", 404),
        ("9100", "GET", "/", 404),
        ("8080", "GET", "/metrics", 403),
        ("8080", "GET", "/v1/download/jobs", 200),
    ],
)
def test_the_metrics_port_serves_metrics_without_a_token_and_nothing_else(
    make_app: Callable[..., Flask], port: str, method: str, path: str, status: int
) -> None:
    client = make_app(api_metrics_port=9100).test_client()
    # The listener's port counts, not the one in Host.
    response = client.open(
        path,
        method=method,
        headers={"Host": "localhost:9100"},
        environ_overrides={"SERVER_PORT": port},
    )
    assert response.status_code == status


@pytest.mark.parametrize("options", [{}, {"auth_mode": "jwt", "jwt_secret": "s" * 32}])
@pytest.mark.parametrize(
    ("host", "name", "status"),
    [
        ("127.0.0.1", "evil.example:9100", 421),
        ("127.0.0.1", "[::1]:9100", 200),
        ("192.0.2.1", "api.internal:9100", 200),
    ],
)
def test_the_metrics_port_is_safe_from_dns_rebinding(
    make_app: Callable[..., Flask], options: dict[str, str], host: str, name: str, status: int
) -> None:
    client = make_app(api_metrics_port=9100, host=host, **options).test_client()
    response = client.get(
        "/metrics", headers={"Host": name}, environ_overrides={"SERVER_PORT": "9100"}
    )
    assert response.status_code == status
