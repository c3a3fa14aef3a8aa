"""The state log on a cluster of which one node does not respond."""

from __future__ import annotations

from typing import cast

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store import keys, state_log
from common.job_store.state_log import StateLog
from tests.unit.common.job_store.test_cluster import TwoNodes

DEAD, ALIVE, *_ = (keys.of_partition("state_log", tag) for tag in keys.all_tags())


class OneDeadPartition(TwoNodes):
    """A cluster that has all partitions but one on the second node."""

    def node_of(self, key: str) -> Redis:
        return self.nodes["a" if key == DEAD else "b"]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> OneDeadPartition:
    monkeypatch.setattr(state_log, "Cluster", OneDeadPartition)
    return OneDeadPartition()


def reader(cluster: OneDeadPartition, consumer: str) -> StateLog:
    return StateLog(cast("Redis", cluster), "webhooks", consumer)


def test_entries_of_other_nodes_are_read_and_taken_over(cluster: OneDeadPartition) -> None:
    cluster.servers["a"].connected = False
    cluster.nodes["b"].xadd(ALIVE, {"job": "{}"})
    dead = reader(cluster, "dead")
    dead.create_group()
    dead.create_group()
    (read,) = dead.read(count=10)
    assert reader(cluster, "alive").claim_idle(idle_ms=0, count=10) == [read]
    cluster.servers["a"].connected = True
    cluster.nodes["a"].xadd(DEAD, {"job": "{}"})
    (late,) = dead.read(count=10)
    assert late.stream == DEAD


def test_an_outage_of_every_node_is_raised(cluster: OneDeadPartition) -> None:
    for server in cluster.servers.values():
        server.connected = False
    log = reader(cluster, "worker")
    with pytest.raises(RedisConnectionError):
        log.create_group()
    with pytest.raises(RedisConnectionError):
        log.claim_idle(idle_ms=0, count=10)
