"""Health checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError

from api.dependencies import EXTENSION
from api.health import TIMEOUT, Health
from api.shared_result import MAX_AGE
from common.job_store import write_check
from common.job_store.storage_capabilities import StorageCapabilities
from tests.unit.api.conftest import FakeStorage


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counter:
    """A check that counts how often it runs."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.runs = 0
        self._seconds = seconds

    def __call__(self) -> None:
        self.runs += 1
        time.sleep(self._seconds)


def test_health_is_healthy_if_all_checks_pass(client: FlaskClient) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    checks = {"redis": "ok", "storage": "ok", "history": "off"}
    assert response.json == {"status": "healthy", "checks": checks}
    assert client.get("/health/ready").status_code == 200


def test_an_unavailable_storage_is_reported_but_jobs_are_still_accepted(
    client: FlaskClient, storage: FakeStorage
) -> None:
    storage.broken = True
    for path in ("/health", "/health/ready"):
        response = client.get(path)
        assert response.status_code == 200
        assert response.json == {
            "status": "healthy",
            "checks": {"redis": "ok", "storage": "unavailable", "history": "off"},
        }
    assert client.post("/v1/download/initiate", json={"file_ids": [1]}).status_code == 202


@pytest.mark.parametrize("error", [OutOfMemoryError, ReadOnlyError, ConnectionError])
def test_a_job_store_that_takes_no_writes_is_not_ready(
    client: FlaskClient, redis: Redis, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise error("no writes")

    monkeypatch.setattr(redis, "set", fail)
    response = client.get("/health/ready")
    assert (response.status_code, response.json["status"]) == (503, "unhealthy")
    assert response.json["checks"]["redis"] == "unavailable"
    assert client.get("/health/live").json == {"status": "alive"}


def test_the_written_key_expires(client: FlaskClient, redis: Redis) -> None:
    client.get("/health")
    (key,) = redis.keys("health:*")
    assert 0 < redis.ttl(key) <= write_check.TTL


def test_a_report_is_shared_for_a_second(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    clock, counter = Clock(), Counter()
    app.extensions[EXTENSION].health._reports._clock = clock
    app.extensions[EXTENSION].health._checks["redis"] = counter
    client = app.test_client()
    for _ in range(20):
        assert client.get("/health").status_code == client.get("/health/ready").status_code == 200
    assert counter.runs == 1
    clock.now += MAX_AGE
    client.get("/health/ready")
    assert counter.runs == 2


def test_simultaneous_callers_wait_for_one_report() -> None:
    counter = Counter(0.2)
    health = Health({"one": counter}, {})
    with ThreadPoolExecutor(10) as pool:
        reports = list(pool.map(lambda _: health.report(), range(10)))
    assert counter.runs == 1
    assert all(report is reports[0] for report in reports)


def test_only_required_checks_decide_whether_the_service_is_healthy() -> None:
    def fail() -> None:
        raise OSError("gone")

    assert Health({"one": Counter()}, {"two": fail, "three": None}).report().healthy
    assert not Health({"one": fail}, {"two": Counter()}).report().healthy


def test_hanging_checks_run_in_parallel_and_time_out() -> None:
    done = threading.Event()
    health = Health(
        {"one": lambda: done.wait(30), "two": lambda: done.wait(30)},
        {},
        storage_capabilities=lambda: {"x": done.wait(30)},
    )
    started = time.monotonic()
    report = health.report()
    assert report.checks == {"one": "timeout", "two": "timeout"}
    assert report.storage_capabilities is None
    assert time.monotonic() - started < TIMEOUT + 0.5
    done.set()


def test_health_shows_storage_capabilities_once_a_worker_published_them(
    client: FlaskClient, redis: Redis
) -> None:
    StorageCapabilities(redis).publish({"range_copy": True, "copy_checksum": False})
    response = client.get("/health")
    assert response.json["storage"] == {"range_copy": True, "copy_checksum": False}
