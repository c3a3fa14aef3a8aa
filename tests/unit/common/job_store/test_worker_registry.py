"""A worker's registration in a cluster whose nodes change."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import Mock

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.job_store.cluster import Cluster
from common.job_store.worker_registry import WorkerRegistration, WorkerRegistry


class FailedOver(Cluster):
    """A cluster of one node. Its client does not know yet that this node was replaced."""

    def __init__(self, known: Redis, current: Redis) -> None:
        self._known = known
        self._current = current

    def node_of(self, key: str) -> Redis:
        return self._known

    def refresh(self) -> None:
        self._known = self._current

    def register_script(self, script: Any) -> Any:
        return self._current.register_script(script)

    def evalsha(self, *args: Any) -> Any:
        return self._current.evalsha(*args)

    def __del__(self) -> None:
        """Close nothing: it has no connection of its own."""


@pytest.mark.parametrize(
    ("error", "heartbeats"), [(RedisConnectionError("refused"), 1), (RedisTimeoutError("late"), 2)]
)
def test_a_worker_registers_with_the_node_that_replaces_a_dead_one(
    redis: Redis, error: RedisError, heartbeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # fakeredis has no INFO.
    monkeypatch.setattr("common.job_store.worker_registry._run_id", lambda _: "server")
    dead = Mock(client_id=Mock(side_effect=error))
    cluster = cast("Redis", FailedOver(dead, redis))
    registration = WorkerRegistration(cluster, "alice", slots=4, running=tuple)
    for _ in range(heartbeats - 1):
        with pytest.raises(RedisTimeoutError):
            registration.heartbeat()
    registration.heartbeat()
    assert [worker.name for worker in WorkerRegistry(redis).registered()] == ["alice"]
