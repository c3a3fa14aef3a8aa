"""The registry of workers: which exist, how busy they are, and which have died.

Each worker holds a connection to the store that nothing else uses. When the process is killed, the
kernel closes the connection immediately, so others detect the death within seconds instead of
waiting for the lease to expire. Missing heartbeats alone do not mean death: a stopped or starved
process still has its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.job_store import keys
from common.job_store.cluster import node_of, refresh_slot_map, run_script
from common.jobs.model import known_members

if TYPE_CHECKING:
    from redis import Redis

#: Milliseconds without a heartbeat until a worker leaves the registry.
TTL: Final = 15_000
#: Stores a worker, even if `maxmemory` is reached: a script may write if its first write is a
#: removal. KEYS: the worker's state, and the names of all workers. ARGV: the state, TTL, the name.
_REGISTER: Final = """
redis.call('SREM', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
"""
#: Milliseconds without a heartbeat until a worker without a connection counts as dead; before, it
#: may just be reconnecting.
DEAD_AFTER: Final = 1_500
#: Milliseconds without a heartbeat before its connection is checked. A worker counts as dead after
#: two failed checks in a row.
MISSING_AFTER: Final = 750


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker process as of its last heartbeat."""

    name: str
    #: The machine's name.
    host: str = ""
    #: When it registered, in milliseconds since 1970 by the store's clock; None if unknown.
    since: int | None = None
    #: The server that the worker is connected to, and the connection's id there.
    server: str
    connection: int
    slots: int
    #: Ids of the jobs that it runs.
    running: tuple[str, ...] = ()
    #: Names of its loops that have stopped making rounds.
    stuck: tuple[str, ...] = ()


class WorkerRegistration:
    """Registers one worker, for other workers and operators to see."""

    def __init__(
        self,
        client: Redis,
        name: str,
        *,
        slots: int,
        running: Callable[[], tuple[str, ...]],
        host: str = "",
        stuck: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """``client`` must have a single connection that nothing else uses."""
        self._client = client
        self._register = client.register_script(_REGISTER)
        self._name = name
        self._host = host
        self._since: int | None = None
        self._slots = slots
        self._running = running
        self._stuck = stuck
        self._server = ""
        self._connection: int | None = None

    def heartbeat(self) -> None:
        """Register the worker, or renew its registration. Raises ``RedisError``."""
        try:
            self._renew()
        except (RedisConnectionError, RedisTimeoutError) as error:
            # In a cluster, another node may have the registry now. Only calls through the cluster's
            # client notice that, and the first call of a renewal is not one of them.
            refresh_slot_map(self._client)
            if isinstance(error, RedisTimeoutError):
                raise
            # Others soon miss a closed connection, and the thread's next calls may take seconds.
            self._renew()

    def _renew(self) -> None:
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
            stuck=self._stuck(),
        )
        run_script(
            self._client,
            self._register,
            [keys.worker(self._name), keys.WORKERS],
            [orjson.dumps(state), TTL, self._name],
        )

    def deregister(self) -> None:
        """Remove the worker from the registry. Raises ``RedisError``."""
        self._client.delete(keys.worker(self._name))
        self._client.srem(keys.WORKERS, self._name)


class WorkerRegistry:
    """All registered workers."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        #: Connections that the last call of ``dead`` did not find, by worker.
        self._missing: dict[str, int] = {}

    def registered(self) -> list[WorkerState]:
        """Return the workers that sent a heartbeat recently."""
        return [state for state, _ in self._read()]

    def dead(self) -> list[str]:
        """Return the names of workers whose connection is closed for good.

        A worker counts as dead when two calls in a row miss the same connection: after a stall of
        the store, a living worker reconnects in between.
        """
        ages = {state.name: (state, age) for state, age in self._read() if age > MISSING_AFTER}
        missing = {
            state.name: state.connection for state in self._without_connection(ages.values())
        }
        dead = [
            name
            for name, connection in missing.items()
            if self._missing.get(name) == connection and ages[name][1] > DEAD_AFTER
        ]
        self._missing = missing
        return dead

    def forget_missing(self) -> None:
        """Make the next call of ``dead`` the first: the store was unavailable meanwhile."""
        self._missing = {}

    def _without_connection(self, workers: Iterable[tuple[WorkerState, int]]) -> list[WorkerState]:
        silent = [state for state, _ in workers]
        if not silent:
            return []
        node = node_of(self._client, keys.WORKERS)
        server = _run_id(node)
        # After a restart or failover of the store, workers are still reconnecting.
        silent = [state for state in silent if state.server == server]
        connections: list[Any] = [state.connection for state in silent]
        if not connections:
            return []
        listed = node.client_list(client_id=connections)
        alive = {int(entry["id"]) for entry in listed}
        return [state for state in silent if state.connection not in alive]

    def _read(self) -> list[tuple[WorkerState, int]]:
        """Return workers with the milliseconds since their last heartbeat; remove expired ones."""
        names = sorted(cast("set[str]", self._client.smembers(keys.WORKERS)))
        with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(keys.worker(name))
                pipe.pttl(keys.worker(name))
            values = pipe.execute()
        pairs = list(zip(names, values[::2], values[1::2], strict=True))
        expired = [name for name, text, _ in pairs if text is None]
        if expired:
            self._client.srem(keys.WORKERS, *expired)
        return [(_state(text), TTL - left) for _, text, left in pairs if text is not None]


def _run_id(node: Redis) -> str:
    """Return the id of a server process, which changes when it restarts."""
    return str(cast("dict[str, str]", node.info("server")).get("run_id"))


def _state(text: str) -> WorkerState:
    members = orjson.loads(text)
    lists = {name: tuple(members.get(name, ())) for name in ("running", "stuck")}
    return WorkerState(**{**known_members(WorkerState, members), **lists})
