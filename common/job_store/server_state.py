"""Memory and connections of the servers of the job store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.job_store.cluster import nodes

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """What one server reports about itself."""

    #: ``primary``, or the address of a node of a cluster.
    name: str
    memory: int
    #: ``maxmemory``; 0 if there is no limit.
    memory_limit: int
    connections: int
    #: ``maxclients``; 0 if the server does not report it.
    connection_limit: int


def read_servers(client: Redis) -> list[ServerState]:
    """Return the state of each primary. Raises ``RedisError``."""
    return [_state(name, node) for name, node in nodes(client).items()]


def _state(name: str, node: Redis) -> ServerState:
    memory: Any = node.info("memory")
    clients: Any = node.info("clients")
    return ServerState(
        name=name,
        memory=int(memory["used_memory"]),
        memory_limit=int(memory.get("maxmemory", 0)),
        connections=int(clients["connected_clients"]),
        connection_limit=int(clients.get("maxclients", 0)),
    )
