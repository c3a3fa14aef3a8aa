"""Probes."""

from __future__ import annotations

import threading
import time

from api.health import PATIENCE, Health


def test_all_is_well(client):
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {"status": "healthy", "checks": {"redis": "ok", "storage": "ok"}}
    assert client.get("/health/ready").status_code == 200


def test_a_storage_that_is_away_is_named(client, storage):
    storage.broken = True
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json == {
        "status": "unhealthy",
        "checks": {"redis": "ok", "storage": "unavailable"},
    }
    assert client.get("/health/live").json == {"status": "alive"}


def test_checks_that_hang_are_asked_side_by_side_and_given_up():
    done = threading.Event()
    health = Health({"one": lambda: done.wait(30), "two": lambda: done.wait(30)}, {})
    begun = time.monotonic()
    assert health.report() == {"one": "timeout", "two": "timeout"}
    assert time.monotonic() - begun < PATIENCE + 0.5
    done.set()
