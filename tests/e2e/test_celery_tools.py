"""Celery's own tools with a running system: what they can do, and what they show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from common.celery_app import QUEUES, celery_app
from stack.process import Process, free_port, wait_until
from stack.sample_catalog import SMALL
from stack.system import System

pytestmark = pytest.mark.timeout(180)

#: The programs of an environment with "celery[redis]" and flower, as docs/observability.md says.
PROGRAMS = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["pool_grow", "pool_shrink"])
def test_the_number_of_slots_cannot_be_changed_and_the_reply_says_so(
    system: System, command: str
) -> None:
    app = celery_app(system.redis_url)
    # A worker that has just started may not listen yet, and what is sent before is lost.
    wait_until(lambda: app.control.ping(timeout=1, limit=1), "the worker's reply", timeout=30)
    replies = app.control.broadcast(command, arguments={"n": 1}, reply=True, timeout=10, limit=1)
    ((reply,),) = [each.values() for each in replies]
    assert "WORKER_CONCURRENCY" in reply["error"]
    info = app.control.inspect(timeout=10, limit=1).stats() or {}
    ((stats,),) = [info.values()]
    assert stats["pool"]["max-concurrency"] == int(system.env.get("WORKER_CONCURRENCY", 4))


def test_llen_counts_wake_ups_and_not_waiting_jobs(system: System, http: httpx.Client) -> None:
    """Only the first job of each user has a wake-up, so the lists are shorter than the queue."""
    httpx.post(
        f"{system.base_url}/v1/admin/queue/pause", headers=system.operator, timeout=10
    ).raise_for_status()
    try:
        for file in SMALL[:4]:
            body = {"file_ids": [file.file_id]}
            http.post("/v1/download/initiate", json=body).raise_for_status()
        statistics = http.get("/v1/download/queue/stats").json()
        with Redis.from_url(system.redis_url, decode_responses=True) as redis:
            wake_ups = sum(int(redis.llen(queue)) for queue in QUEUES)
        assert statistics["totalWaiting"] >= 4
        assert wake_ups < statistics["totalWaiting"]
    finally:
        httpx.post(
            f"{system.base_url}/v1/admin/queue/resume", headers=system.operator, timeout=10
        ).raise_for_status()


@pytest.fixture
def flower(system: System, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    process = Process(
        "flower",
        [
            str(PROGRAMS / "celery"),
            f"--broker={system.redis_url}",
            "flower",
            "--address=127.0.0.1",
            f"--port={port}",
        ],
        env={"FLOWER_UNAUTHENTICATED_API": "true"},
        output=tmp_path / "flower.log",
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def test_flower_shows_the_workers(system: System, flower: str) -> None:
    def workers() -> bool:
        try:
            response = httpx.get(f"{flower}/api/workers?refresh=1", timeout=20)
        except httpx.HTTPError:
            return False
        return response.status_code == 200 and any(
            name.startswith("longhaul-") for name in response.json()
        )

    wait_until(workers, "the workers in Flower", 60)
    assert "flower_worker_online" in httpx.get(f"{flower}/metrics", timeout=20).text
