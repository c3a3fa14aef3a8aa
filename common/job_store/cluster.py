"""Redis Cluster behind the few calls that the job store makes.

Every key of the store carries its partition's hash tag, so a script needs only one node. A pipeline
may touch many partitions: it is split into one ordinary pipeline per node, which may run scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, cast

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

if TYPE_CHECKING:
    from redis.client import Pipeline
    from redis.cluster import ClusterNode
    from redis.commands.core import Script

#: Errors after which the map of slots to nodes may be out of date. A machine that is gone causes
#: only timeouts.
_STALE_SLOT_MAP = (
    AskError,
    MovedError,
    ClusterDownError,
    RedisConnectionError,
    RedisTimeoutError,
)


class Cluster(RedisCluster):
    """redis-py's client, except that all of its errors are ``RedisError``."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> NodePipelines:  # noqa: ARG002
        return NodePipelines(self)

    def node_of(self, key: str) -> Redis:
        """Return a client of the node that holds ``key`` now. Raises ``RedisError``."""
        return self.get_redis_connection(self._owner(key))

    def refresh(self) -> None:
        """Read the map of slots to nodes again. Raises ``RedisError`` when no node responds."""
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
    """A pipeline for many nodes: sends commands node by node and returns results in their order."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pipes: dict[int, Pipeline] = {}
        #: For each command: its pipeline and its index there.
        self._order: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes.values():
            pipe.reset()

    def __getattr__(self, command: str) -> Callable[..., object]:
        def queue(*args: Any, **options: Any) -> object:
            # Any node can run a command without a key, such as TIME.
            return getattr(self.for_key(args[0] if args else ""), command)(*args, **options)

        return queue

    def execute_command(self, *args: Any, **options: Any) -> object:
        """Add a part of a command with keys in many slots, which redis-py has split by slot."""
        options.pop("target_nodes", None)
        return self.for_key(args[1]).execute_command(*args, **options)

    def for_key(self, key: str) -> Pipeline:
        """Return the pipeline of the node that holds ``key``, for the next command."""
        node = self._cluster.node_of(key)
        pipe = self._pipes.setdefault(id(node), node.pipeline(transaction=False))
        self._order.append((id(node), len(pipe)))
        return pipe

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the results in order; without ``raise_on_error`` they include errors.

        If a node does not respond, that error is the result of each of its commands.
        """
        try:
            by_node = {
                node: pipe.execute() if raise_on_error else _execute_with_errors(pipe)
                for node, pipe in self._pipes.items()
            }
        except _STALE_SLOT_MAP as error:
            self._cluster.refresh()
            raise RedisConnectionError(f"the cluster has changed: {error}") from error
        results = [by_node[node][index] for node, index in self._order]
        if any(isinstance(result, _STALE_SLOT_MAP) for result in results):
            with suppress(RedisError):  # Then the next command tries it again.
                self._cluster.refresh()
        return results


def _execute_with_errors(pipe: Pipeline) -> list[Any]:
    """Return the results of one node's commands, with the error in each if it does not respond."""
    commands = len(pipe)
    try:
        return pipe.execute(raise_on_error=False)
    except RedisError as error:
        return [error] * commands


def pipeline_for(pipe: Any, key: str) -> Pipeline:
    """Return the pipeline for the next command about ``key``: on a cluster that of its node."""
    return pipe.for_key(key) if isinstance(pipe, NodePipelines) else pipe


def node_of(client: Redis, key: str) -> Redis:
    """Return a client of the server that holds ``key``: on a cluster one of its nodes."""
    return client.node_of(key) if isinstance(client, Cluster) else client


def server_of(client: Redis, key: str) -> str:
    """Return the name of the server that holds ``key``; empty if it is the only one, or unknown."""
    if isinstance(client, Cluster):
        with suppress(RedisClusterException):
            return str(client.get_node_from_key(key).name)
    return ""


def run_script(client: Redis, script: Script, keys: Sequence[str], args: Iterable[Any]) -> Any:
    """Run a script on the server that holds its keys, and load it there if it is missing.

    On a cluster, redis-py would load it on every primary, which fails if one of them is down.
    """
    command = (script.sha, len(keys), *keys, *args)
    try:
        return client.evalsha(*command)
    except NoScriptError:
        node_of(client, keys[0]).script_load(script.script)
        return client.evalsha(*command)


def refresh_slot_map(client: Redis) -> None:
    """Read the map of slots to nodes again if the store is a cluster. Raises ``RedisError``."""
    if isinstance(client, Cluster):
        client.refresh()


def nodes(client: Redis) -> dict[str, Redis]:
    """Return a client of each primary by its address; ``primary`` if there is only one."""
    if not isinstance(client, Cluster):
        return {"primary": client}
    return {str(node.name): client.get_redis_connection(node) for node in client.get_primaries()}


def uptime(client: Redis) -> int:
    """Return the seconds since a server of the store was last started."""
    if not isinstance(client, Cluster):
        return _uptime(client)
    try:
        return min(_uptime(client.get_redis_connection(node)) for node in client.get_primaries())
    except RedisError:
        client.refresh()
        raise


def _uptime(node: Redis) -> int:
    return int(cast("dict[str, int]", node.info("server"))["uptime_in_seconds"])
