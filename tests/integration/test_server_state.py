"""Memory and connections as a real server reports them."""

from __future__ import annotations

from redis import Redis

from common.job_store.client import open_client
from common.job_store.server_state import read_servers
from stack.services import Valkey


def test_memory_and_connections_of_the_server(valkey: Valkey, redis: Redis) -> None:
    redis.config_set("maxmemory", "256mb")
    (before,) = read_servers(redis)
    clients = [open_client(valkey.url, timeout=5) for _ in range(3)]
    for client in clients:
        client.ping()
    redis.set("large", "x" * 1_000_000)
    (after,) = read_servers(redis)
    for client in clients:
        client.close()
    redis.config_set("maxmemory", "0")
    assert after.name == "primary"
    assert after.memory - before.memory > 1_000_000
    assert after.memory_limit == 256 * 2**20
    assert after.connections >= before.connections + len(clients)
    assert str(after.connection_limit) == redis.config_get("maxclients")["maxclients"]
