"""The pub/sub reader: hears of every change of the jobs it watches, reads them whole, runs scripts.

One RESP3 connection does all of it, because there a connection that listens may also ask
(https://valkey.io/topics/protocol/#pushes). Subscription and snapshot travel together and come
back in order: no change can slip in between, and no second connection is needed. What many ask for
at the same time goes out and comes back together, for the price of a single round trip.
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
from common.job_store.cluster import Cluster, node_of

if TYPE_CHECKING:
    import socket

    from redis import Redis
    from redis.connection import AbstractConnection

#: Bytes taken from the socket at once: what is behind waits until these are worked off.
CHUNK: Final = 65_536
#: Seconds that an answer may take until the server counts as gone.
PATIENCE: Final = 3.0

_NOTHING: Final = object()

#: Gets what the server says to a command; an error is a ``hiredis.ReplyError``.
Answered = Callable[[Any], None]


#: Gets a job's id and its fields as they are now: published, or read because they were asked for;
#: None: no such job.
Changed = Callable[[str, "dict[str, str] | None"], None]


def open_subscriptions(client: Redis) -> list[EventSubscription]:
    """A feed for the whole store; of a cluster one for each partition, in order."""
    tags = keys.all_tags() if isinstance(client, Cluster) else keys.all_tags()[:1]
    return [EventSubscription(client, tag) for tag in tags]


class EventSubscription:
    """Watches jobs on a connection of its own.

    Nothing but ``connect`` waits: whoever drives the feed calls ``receive`` when ``fileno`` is
    readable, and ``flush`` as long as it returns False and ``fileno`` is writable. All of them
    raise ``RedisError`` or ``OSError`` once the connection is lost; the watched jobs are then
    forgotten.
    """

    def __init__(self, client: Redis, tag: str) -> None:
        """``client`` knows where to connect, and its time limits; ``tag``: of a partition."""
        self._client = client
        self._tag = tag
        self._connection: AbstractConnection | None = None
        self._socket: socket.socket | None = None
        self._input = bytearray(CHUNK)
        self._forget()

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> None:
        """Open the connection; may take as long as the client's own time limits allow."""
        self.close()
        if isinstance(self._client, Cluster):
            # The partition may have moved: that is one reason to be here again.
            self._client.refresh()
        pool = node_of(self._client, keys.of_partition("state_log", self._tag)).connection_pool
        connection = pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})
        connection.connect()
        self._connection = connection
        self._socket = connection._sock
        self._socket.setblocking(False)

    def close(self) -> None:
        """Drop the connection, if there is one."""
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
        self._connection = self._socket = None
        self._forget()

    def fileno(self) -> int:
        return self._open_socket().fileno()

    def watch(self, job_ids: Iterable[str]) -> None:
        """Hear of these jobs' changes from now on; each comes once as it is now."""
        for job_id in job_ids:
            self._queue("SUBSCRIBE", keys.events(job_id))
            self._ask(job_id)

    def read(self, job_ids: Iterable[str]) -> None:
        """Each of these jobs comes once more as it is now."""
        for job_id in job_ids:
            self._ask(job_id)

    def unwatch(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._queue("UNSUBSCRIBE", keys.events(job_id))

    def call(self, command: Iterable[str], answered: Answered) -> None:
        """Send any other command. It is never answered when the connection is lost before."""
        self._queue(*command)
        self._awaited.append((answered, time.monotonic()))

    def check(self) -> None:
        """Make sure that an answer is due; raises ``RedisError`` when one is overdue."""
        now = time.monotonic()
        if not self._awaited:
            self._queue("PING")
            self._awaited.append((None, now))
        elif now - self._awaited[0][1] > PATIENCE:
            raise RedisConnectionError("the job store has gone silent")

    @property
    def pending(self) -> int:
        """Bytes that are queued to be sent."""
        return len(self._output)

    def flush(self) -> bool:
        """Send what is queued; False when some of it has to wait until the socket is writable."""
        while self._output:
            try:
                sent = self._open_socket().send(self._output)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
            del self._output[:sent]
        return True

    def receive(self, changed: Changed) -> None:
        """Hand over what has come in by now, as far as one chunk holds it."""
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
                    self._published(reply[1].rpartition(":")[2], reply[2], changed)
                continue
            asked, _ = self._awaited.popleft()
            if callable(asked):
                asked(reply)
            elif isinstance(reply, hiredis.ReplyError):
                raise RedisConnectionError(f"the job store refused to be read: {reply}")
            elif asked is not None:
                changed(asked, reply or None)

    def _published(self, job_id: str, message: str, changed: Changed) -> None:
        try:
            fields = orjson.loads(message)
        except orjson.JSONDecodeError:
            fields = None
        if isinstance(fields, dict) and fields.get("id") == job_id:
            changed(job_id, fields)
        else:
            # Whoever else published there: the hash knows.
            self._ask(job_id)

    def _ask(self, job_id: str) -> None:
        self._queue("HGETALL", keys.status(job_id))
        self._awaited.append((job_id, time.monotonic()))

    def _queue(self, *command: str) -> None:
        self._output += hiredis.pack_command(command)  # type: ignore[arg-type]

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise RedisConnectionError("not connected to the job store")
        return self._socket

    def _forget(self) -> None:
        self._reader = hiredis.Reader(encoding="utf-8", notEnoughData=_NOTHING)
        self._output = bytearray()
        #: What was asked for, in order, and since when: a job, a command by who gets its answer, or
        #: None for a mere sign of life.
        self._awaited: deque[tuple[str | Answered | None, float]] = deque()
