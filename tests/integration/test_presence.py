"""Death is told from silence by the worker's own connection."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from common.store import presence
from common.store.client import open_client
from common.store.presence import Presence, Workers
from stack.services import Valkey


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "DEAD_AFTER", 50)


def worker(valkey: Valkey, name: str) -> tuple[Redis, Presence]:
    client = open_client(valkey.url, patience=2, own_connection=True)
    return client, Presence(client, name, slots=4, running=lambda: ("job",))


def test_a_worker_is_known_from_its_first_beat_until_it_leaves(
    valkey: Valkey, redis: Redis
) -> None:
    client, alice = worker(valkey, "alice")
    alice.beat()
    assert [(w.name, w.slots, w.running) for w in Workers(redis).known()] == [
        ("alice", 4, ("job",))
    ]
    alice.leave()
    assert Workers(redis).known() == []
    client.close()


def test_a_silent_worker_with_a_connection_is_not_dead(valkey: Valkey, redis: Redis) -> None:
    client, alice = worker(valkey, "alice")
    alice.beat()
    time.sleep(0.1)
    assert Workers(redis).dead() == []
    client.close()
    time.sleep(0.02)
    assert Workers(redis).dead() == ["alice"]
