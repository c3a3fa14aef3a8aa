"""A worker is dead when its connection is closed, not when it is silent."""

from __future__ import annotations

import time

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store import worker_registry
from common.job_store.client import open_client
from common.job_store.worker_registry import WorkerRegistration, WorkerRegistry
from stack.services import Valkey


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_registry, "DEAD_AFTER", 50)
    monkeypatch.setattr(worker_registry, "MISSING_AFTER", 20)


def worker(valkey: Valkey, name: str) -> tuple[Redis, WorkerRegistration]:
    client = open_client(valkey.url, timeout=2, own_connection=True)
    return client, WorkerRegistration(client, name, slots=4, running=lambda: ("job",))


def test_a_worker_is_registered_from_its_first_heartbeat_until_it_deregisters(
    valkey: Valkey, redis: Redis
) -> None:
    client, alice = worker(valkey, "alice")
    alice.heartbeat()
    assert [(w.name, w.slots, w.running) for w in WorkerRegistry(redis).registered()] == [
        ("alice", 4, ("job",))
    ]
    alice.deregister()
    assert WorkerRegistry(redis).registered() == []
    client.close()


def test_a_silent_worker_is_dead_only_after_its_connection_is_closed(
    valkey: Valkey, redis: Redis
) -> None:
    client, alice = worker(valkey, "alice")
    alice.heartbeat()
    time.sleep(0.1)
    registry = WorkerRegistry(redis)
    assert registry.dead() == registry.dead() == []
    client.close()
    time.sleep(0.02)
    assert registry.dead() == []  # The first sighting.
    assert registry.dead() == ["alice"]
    registry.forget_missing()
    assert registry.dead() == []


def test_a_worker_that_reconnects_between_two_sightings_is_alive(
    valkey: Valkey, redis: Redis
) -> None:
    client, alice = worker(valkey, "alice")
    alice.heartbeat()
    registry = WorkerRegistry(redis)
    for _ in range(3):
        client.connection_pool.disconnect()
        time.sleep(0.1)
        assert registry.dead() == []
        alice.heartbeat()
    client.close()


def test_a_worker_whose_connection_breaks_during_a_call_registers_again_at_once(
    valkey: Valkey, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(valkey.url, timeout=2, own_connection=True, retries=0)
    alice = WorkerRegistration(client, "alice", slots=4, running=tuple)
    alice.heartbeat()
    client_id = client.client_id

    def lose_response() -> int:
        monkeypatch.setattr(client, "client_id", client_id)
        client.connection_pool.disconnect()
        raise RedisConnectionError("Connection reset by peer.")

    monkeypatch.setattr(client, "client_id", lose_response)
    alice.heartbeat()
    assert [each.connection for each in WorkerRegistry(redis).registered()] == [client_id()]
    client.close()
