"""Health checks."""

from __future__ import annotations

import threading
import time

from flask.testing import FlaskClient
from redis import Redis

from api.health import TIMEOUT, Health
from common.job_store.storage_capabilities import StorageCapabilities
from tests.unit.api.conftest import FakeStorage


def test_health_is_healthy_if_all_required_checks_pass(client: FlaskClient) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    checks = {"redis": "ok", "storage": "ok", "history": "off"}
    assert response.json == {"status": "healthy", "checks": checks}
    assert client.get("/health/ready").status_code == 200


def test_health_names_an_unavailable_storage(client: FlaskClient, storage: FakeStorage) -> None:
    storage.broken = True
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json == {
        "status": "unhealthy",
        "checks": {"redis": "ok", "storage": "unavailable", "history": "off"},
    }
    assert client.get("/health/live").json == {"status": "alive"}


def test_hanging_checks_run_in_parallel_and_time_out() -> None:
    done = threading.Event()
    health = Health({"one": lambda: done.wait(30), "two": lambda: done.wait(30)}, {})
    started = time.monotonic()
    assert health.report() == {"one": "timeout", "two": "timeout"}
    assert time.monotonic() - started < TIMEOUT + 0.5
    done.set()


def test_health_shows_storage_capabilities_once_a_worker_published_them(
    client: FlaskClient, redis: Redis
) -> None:
    StorageCapabilities(redis).publish({"range_copy": True, "copy_checksum": False})
    response = client.get("/health")
    assert response.json["storage"] == {"range_copy": True, "copy_checksum": False}
