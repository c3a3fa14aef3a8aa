"""A Redis Cluster behind the few calls that the job store makes.

Every key of the store carries its partition's tag, so a script needs one node only. A pipeline may
touch many partitions: it is cut into one ordinary pipeline for each node, which may hold scripts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, cast

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from redis.client import Pipeline
    from redis.cluster import ClusterNode

#: The map of slots to nodes is out of date.
_STALE = (AskError, MovedError, ClusterDownError, RedisConnectionError)


class Cluster(RedisCluster):
    """redis-py's client; what it raises is a ``RedisError`` here without exception."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> NodePipelines:  # noqa: ARG002
        return NodePipelines(self)

    def node_of(self, key: str) -> Redis:
        """A client of the node that holds ``key`` now. Raises ``RedisError``."""
        return self.get_redis_connection(self._owner(key))

    def refresh(self) -> None:
        """Ask anew which node holds what. Raises ``RedisError`` when no node knows."""
        try:
            self.nodes_manager.initialize()
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

    def _owner(self, key: str) -> ClusterNode:
        try:
            node: ClusterNode | None = self.get_node_from_key(key)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error
        if node is None:
            raise RedisConnectionError("no node of the cluster holds this key")
        return node


class NodePipelines:
    """Looks like a pipeline: collects commands, sends them node by node, answers in their order."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pipes: dict[int, Pipeline] = {}
        #: For each command: its pipeline and its place there.
        self._order: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes.values():
            pipe.reset()

    def __getattr__(self, command: str) -> Callable[..., object]:
        def queue(*args: Any, **options: Any) -> object:
            # A command without a key, such as TIME, may be answered by any node.
            return getattr(self.at(args[0] if args else ""), command)(*args, **options)

        return queue

    def execute_command(self, *args: Any, **options: Any) -> object:
        """What the cluster's client itself puts here, where a command has keys in many slots."""
        options.pop("target_nodes", None)
        return self.at(args[1]).execute_command(*args, **options)

    def at(self, key: str) -> Pipeline:
        """The pipeline to the node that holds ``key``, for the next command."""
        node = self._cluster.node_of(key)
        pipe = self._pipes.setdefault(id(node), node.pipeline(transaction=False))
        self._order.append((id(node), len(pipe)))
        return pipe

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers in order; without ``raise_on_error`` refusals stand among them."""
        try:
            results = {node: pipe.execute(raise_on_error) for node, pipe in self._pipes.items()}
        except _STALE as error:
            self._cluster.refresh()
            raise RedisConnectionError(f"the cluster has changed: {error}") from error
        return [results[node][place] for node, place in self._order]


def pipeline_for(pipe: Any, key: str) -> Pipeline:
    """What takes the next command about ``key``: the pipeline itself, but on a cluster a part."""
    return pipe.at(key) if isinstance(pipe, NodePipelines) else pipe


def node_of(client: Redis, key: str) -> Redis:
    """The one server that holds ``key``: ``client`` itself, but on a cluster one of its nodes."""
    return client.node_of(key) if isinstance(client, Cluster) else client


def uptime(client: Redis) -> int:
    """Seconds since the last start of a server that holds a part of the store."""
    if not isinstance(client, Cluster):
        return _uptime(client)
    try:
        return min(_uptime(client.get_redis_connection(node)) for node in client.get_primaries())
    except RedisError:
        client.refresh()
        raise


def _uptime(node: Redis) -> int:
    return int(cast("dict[str, int]", node.info("server"))["uptime_in_seconds"])
