"""Which workers are there, how busy they are, and which of them died.

A worker keeps one connection of its own to the store. When the process is killed, the kernel closes
that connection at once, so the others see the death within a beat instead of a lease's length.
Silence alone is no death: a stopped or starved process still has its connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from common.job_store import keys
from common.job_store.cluster import node_of

if TYPE_CHECKING:
    from redis import Redis

#: A worker not heard of for so long is not known any more, milliseconds.
FORGET_AFTER: Final = 15_000
#: A worker without a connection is dead after so long; it may just be connecting anew.
DEAD_AFTER: Final = 1_500


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker process as it last described itself."""

    name: str
    #: The machine's name.
    host: str = ""
    #: Milliseconds since 1970, by the store's clock, of its first beat; None where it did not say.
    since: int | None = None
    #: The server that knows the worker, and its number of the worker's own connection.
    server: str
    connection: int
    slots: int
    #: Ids of the jobs that it runs.
    running: tuple[str, ...] = ()


class WorkerRegistration:
    """Shows one worker to the others and to the operator."""

    def __init__(
        self,
        client: Redis,
        name: str,
        *,
        slots: int,
        running: Callable[[], tuple[str, ...]],
        host: str = "",
    ) -> None:
        """``client`` must be this worker's alone, with a single connection."""
        self._client = client
        self._name = name
        self._host = host
        self._since: int | None = None
        self._slots = slots
        self._running = running
        self._server = ""
        self._connection: int | None = None

    def heartbeat(self) -> None:
        """Say that this worker lives. Raises ``redis.exceptions.RedisError``."""
        node = node_of(self._client, keys.WORKERS)
        connection = node.client_id()
        if connection != self._connection:
            self._server = _run_id(node)
            self._connection = connection
        if self._since is None:
            seconds, micros = node.time()
            self._since = seconds * 1000 + micros // 1000
        state = WorkerState(
            name=self._name,
            host=self._host,
            since=self._since,
            server=self._server,
            connection=connection,
            slots=self._slots,
            running=self._running(),
        )
        self._client.set(keys.worker(self._name), orjson.dumps(state), px=FORGET_AFTER)
        self._client.sadd(keys.WORKERS, self._name)

    def deregister(self) -> None:
        """This worker ends."""
        self._client.delete(keys.worker(self._name))
        self._client.srem(keys.WORKERS, self._name)


class WorkerRegistry:
    """All workers, seen from any process."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def registered(self) -> list[WorkerState]:
        """The workers that were heard of lately."""
        return [state for state, _ in self._read()]

    def dead(self) -> list[str]:
        """Names of workers whose connection is gone for good."""
        silent = [state for state, age in self._read() if age > DEAD_AFTER]
        if not silent:
            return []
        node = node_of(self._client, keys.WORKERS)
        server = _run_id(node)
        # After a restart or a failover the workers' connections are on their way.
        silent = [state for state in silent if state.server == server]
        connections: list[Any] = [state.connection for state in silent]
        if not connections:
            return []
        listed = node.client_list(client_id=connections)
        alive = {int(entry["id"]) for entry in listed}
        return [state.name for state in silent if state.connection not in alive]

    def _read(self) -> list[tuple[WorkerState, int]]:
        """Each worker with the milliseconds since its last beat; the forgotten are removed."""
        names = sorted(cast("set[str]", self._client.smembers(keys.WORKERS)))
        with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(keys.worker(name))
                pipe.pttl(keys.worker(name))
            found = pipe.execute()
        pairs = list(zip(names, found[::2], found[1::2], strict=True))
        gone = [name for name, text, _ in pairs if text is None]
        if gone:
            self._client.srem(keys.WORKERS, *gone)
        return [(_state(text), FORGET_AFTER - left) for _, text, left in pairs if text is not None]


def _run_id(node: Redis) -> str:
    """Names a server from its start to its end."""
    return str(cast("dict[str, str]", node.info("server")).get("run_id"))


def _state(text: str) -> WorkerState:
    said = orjson.loads(text)
    # While a deploy is under way, a newer worker may say more than is understood here.
    known = {name: said[name] for name in _MEMBERS if name in said}
    return WorkerState(**{**known, "running": tuple(said["running"])})


_MEMBERS: Final = tuple(member.name for member in fields(WorkerState))
