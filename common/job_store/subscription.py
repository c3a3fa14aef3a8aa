"""A subscription to job events (pub/sub) on a connection that can also send commands.

With RESP3 a connection that has subscribed may still send commands
(https://valkey.io/topics/protocol/#pushes). SUBSCRIBE and the command that reads the snapshot are
sent together and come back in order, so no change is missed in between and one connection is
enough. Commands of many callers are pipelined and share a single round trip.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import hiredis
import orjson
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store import keys
from common.job_store.cluster import Cluster, node_of, refresh_slot_map

if TYPE_CHECKING:
    import socket

    from redis import Redis
    from redis.connection import AbstractConnection

#: Bytes read from the socket before they are processed.
CHUNK: Final = 65_536
#: Seconds without a response until the connection counts as lost.
RESPONSE_TIMEOUT: Final = 3.0

_NOTHING: Final = object()

#: Called with the response to a command; an error is a ``hiredis.ReplyError``.
OnResponse = Callable[[Any], None]

#: Called with a job's id and its current fields, published or read; None: the job does not exist.
OnChange = Callable[[str, "dict[str, str] | None"], None]


def open_subscriptions(client: Redis) -> list[EventSubscription]:
    """Return one subscription for the whole store, or on a cluster one per partition, in order."""
    tags = keys.all_tags() if isinstance(client, Cluster) else keys.all_tags()[:1]
    return [EventSubscription(client, tag) for tag in tags]


def pack(*command: str) -> bytes:
    """Return a command as it is sent."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
    return packed


class EventSubscription:
    """Watches jobs on one connection that nothing else uses.

    Only ``connect`` blocks. The event loop calls ``receive`` when ``fileno`` is readable, and
    ``flush`` while it returns False and ``fileno`` is writable. All of them raise ``RedisError`` or
    ``OSError`` once the connection is lost; then no job is watched any more.
    """

    def __init__(self, client: Redis, tag: str) -> None:
        """``client`` provides the address and the timeouts; ``tag`` is a partition's."""
        self._client = client
        self._tag = tag
        self._connection: AbstractConnection | None = None
        self._socket: socket.socket | None = None
        self._input = bytearray(CHUNK)
        self._reset()

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> None:
        """Open the connection; blocks for at most the client's timeouts."""
        self.close()
        # The partition may have moved to another node, which is one reason to reconnect.
        refresh_slot_map(self._client)
        pool = node_of(self._client, keys.of_partition("state_log", self._tag)).connection_pool
        connection = pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})
        connection.connect()
        self._connection = connection
        self._socket = connection._sock
        self._socket.setblocking(False)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
        self._connection = self._socket = None
        self._reset()

    def fileno(self) -> int:
        return self._open_socket().fileno()

    def watch(self, job_ids: Iterable[str]) -> None:
        """Report changes of these jobs from now on, and once each job as it is now."""
        for job_id in job_ids:
            self._queue("SUBSCRIBE", keys.events(job_id))
            self._read_job(job_id)

    def read(self, job_ids: Iterable[str]) -> None:
        """Report each of these jobs once more as it is now."""
        for job_id in job_ids:
            self._read_job(job_id)

    def unwatch(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._queue("UNSUBSCRIBE", keys.events(job_id))

    def call(self, command: bytes, on_response: OnResponse) -> None:
        """Send any other command; there is no response if the connection is lost before it."""
        self._output += command
        self._awaited.append((on_response, time.monotonic()))

    def check(self) -> None:
        """Detect a silent server: send PING when idle; raise ``RedisError`` on a timeout."""
        if self._is_demoted():
            raise RedisConnectionError("another server is the primary of the job store now")
        now = time.monotonic()
        if not self._awaited:
            self._queue("PING")
            self._awaited.append((None, now))
        elif now - self._awaited[0][1] > RESPONSE_TIMEOUT:
            raise RedisConnectionError("the job store does not respond")

    def _is_demoted(self) -> bool:
        """Return whether the Sentinels name another primary than the server of this connection."""
        if isinstance(self._client, Cluster):
            return False
        primary = getattr(self._client.connection_pool, "master_address", None)
        connection: Any = self._connection
        return primary is not None and (connection.host, connection.port) != tuple(primary)

    @property
    def pending(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._output)

    def flush(self) -> bool:
        """Send what waits; return False if some of it has to wait until the socket is writable."""
        while self._output:
            try:
                sent = self._open_socket().send(self._output)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
            del self._output[:sent]
        return True

    def receive(self, on_change: OnChange) -> None:
        """Process what has arrived, up to one chunk."""
        try:
            size = self._open_socket().recv_into(self._input)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not size:
            raise RedisConnectionError("the job store closed the connection")
        self._reader.feed(self._input, 0, size)  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is not _NOTHING:
            if isinstance(reply, hiredis.PushNotification):
                if reply[0] == "message":
                    self._published(reply[1].rpartition(":")[2], reply[2], on_change)
                continue
            request, _ = self._awaited.popleft()
            if callable(request):
                request(reply)
            elif isinstance(reply, hiredis.ReplyError):
                raise RedisConnectionError(f"the job store rejected a command: {reply}")
            elif request is not None:
                on_change(request, reply or None)

    def _published(self, job_id: str, message: str, on_change: OnChange) -> None:
        try:
            fields = orjson.loads(message)
        except orjson.JSONDecodeError:
            fields = None
        if isinstance(fields, dict) and fields.get("id") == job_id:
            on_change(job_id, fields)
        else:
            # Not published by a script of the job store: read the hash instead.
            self._read_job(job_id)

    def _read_job(self, job_id: str) -> None:
        self._queue("HGETALL", keys.status(job_id))
        self._awaited.append((job_id, time.monotonic()))

    def _queue(self, *command: str) -> None:
        self._output += pack(*command)

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise RedisConnectionError("not connected to the job store")
        return self._socket

    def _reset(self) -> None:
        self._reader = hiredis.Reader(encoding="utf-8", notEnoughData=_NOTHING)
        self._output = bytearray()
        #: Requests without a response yet, in order, and when they were sent: the id of a job, the
        #: callback of a command, or None for PING.
        self._awaited: deque[tuple[str | OnResponse | None, float]] = deque()
