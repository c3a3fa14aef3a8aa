"""Pipelines for many nodes, of which some do not respond."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from unittest.mock import Mock

import fakeredis
import pytest
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.job_store.cluster import NodePipelines
from common.job_store.scripts import Scripts


class TwoNodes:
    """A cluster whose keys are on the node that their first letter names."""

    def __init__(self) -> None:
        self.servers = {name: fakeredis.FakeServer() for name in "ab"}
        self.nodes = {
            name: fakeredis.FakeRedis(decode_responses=True, server=server)
            for name, server in self.servers.items()
        }
        self.refreshed = 0

    def node_of(self, key: str) -> Redis:
        return self.nodes[key[0]]

    def pipeline(self, **_: object) -> NodePipelines:
        return NodePipelines(self)  # type: ignore[arg-type]

    def register_script(self, text: str) -> Script:
        return self.nodes["b"].register_script(text)

    def refresh(self) -> None:
        self.refreshed += 1
        raise RedisConnectionError("no node of the cluster responds")


@pytest.fixture
def cluster() -> TwoNodes:
    return TwoNodes()


@pytest.fixture
def pipe(cluster: TwoNodes) -> Iterator[NodePipelines]:
    with cluster.pipeline() as pipe:
        yield pipe


def test_the_other_nodes_run_their_commands_if_one_does_not_respond(
    cluster: TwoNodes, pipe: NodePipelines
) -> None:
    for key in ("a1", "b1", "a2", "b2"):
        pipe.set(key, key)
    pipe.hgetall("b1")
    cluster.servers["a"].connected = False
    first, second, third, fourth, fifth = pipe.execute(raise_on_error=False)
    assert (second, fourth) == (True, True)
    assert isinstance(first, RedisConnectionError)
    assert first is third
    assert isinstance(fifth, ResponseError)
    assert cluster.refreshed == 1


def test_an_error_is_raised_unless_the_caller_looks_at_the_results(
    cluster: TwoNodes, pipe: NodePipelines
) -> None:
    pipe.set("b1", "")
    pipe.set("a1", "")
    cluster.servers["a"].connected = False
    with pytest.raises(RedisConnectionError):
        pipe.execute()


@pytest.mark.parametrize("raise_on_error", [True, False])
def test_the_map_of_slots_is_read_again_when_a_node_does_not_respond_in_time(
    cluster: TwoNodes,
    pipe: NodePipelines,
    raise_on_error: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A machine that is gone closes no connection.
    hanging = cluster.nodes["a"].pipeline(transaction=False)
    monkeypatch.setattr(hanging, "execute", Mock(side_effect=RedisTimeoutError))
    monkeypatch.setattr(cluster.nodes["a"], "pipeline", lambda **_: hanging)
    pipe.set("a1", "")
    with suppress(RedisError):
        pipe.execute(raise_on_error)
    assert cluster.refreshed == 1


def test_a_node_loads_a_missing_script_while_another_node_is_down(cluster: TwoNodes) -> None:
    scripts = Scripts(cluster)  # type: ignore[arg-type]
    cluster.servers["a"].connected = False
    calls = [
        (f"{key}:{{p00}}", {"reference": "job:1", "keep": 60_000}) for key in ("a1", "b1", "b2")
    ]
    first, *others = scripts.run_many("archive_hold", calls, raise_on_error=False)
    assert isinstance(first, RedisConnectionError)
    assert others == [["HELD"]] * 2
