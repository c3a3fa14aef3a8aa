"""Probes."""

from __future__ import annotations

import threading
import time

from api.health import PATIENCE, Health
from common.job_store.storage_capabilities import StorageCapabilities


def test_all_is_well(client):
    answer = client.get("/health")
    assert answer.status_code == 200
    checks = {"redis": "ok", "storage": "ok", "history": "off"}
    assert answer.json == {"status": "healthy", "checks": checks}
    assert client.get("/health/ready").status_code == 200


def test_a_storage_that_is_away_is_named(client, storage):
    storage.broken = True
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json == {
        "status": "unhealthy",
        "checks": {"redis": "ok", "storage": "unavailable", "history": "off"},
    }
    assert client.get("/health/live").json == {"status": "alive"}


def test_checks_that_hang_are_asked_side_by_side_and_given_up():
    done = threading.Event()
    health = Health({"one": lambda: done.wait(30), "two": lambda: done.wait(30)}, {})
    begun = time.monotonic()
    assert health.report() == {"one": "timeout", "two": "timeout"}
    assert time.monotonic() - begun < PATIENCE + 0.5
    done.set()


def test_what_the_storage_can_do_is_shown_once_a_worker_has_tried(client, redis):
    StorageCapabilities(redis).publish({"range_copy": True, "copy_checksum": False})
    answer = client.get("/health")
    assert answer.json["storage"] == {"range_copy": True, "copy_checksum": False}
