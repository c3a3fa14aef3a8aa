"""One connection to the job store with its hub, kept open on gevent's event loop."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import gevent
import structlog
from gevent.event import AsyncResult, Event
from gevent.hub import Waiter
from hiredis import ReplyError
from redis.exceptions import RedisError

from api.live.event_loop import READ, WRITE, StreamLoop
from api.live.hub import Hub, Subscriber
from common.errors import BackendUnavailable, JobNotFound
from common.job_store import keys, time_budget
from common.job_store.errors import describe
from common.job_store.subscription import EventSubscription, pack
from common.jobs.model import Job

#: Seconds until a request fails because the job store does not respond, and until it may be
#: repeated.
SUBSCRIBE_TIMEOUT: Final = 1.5
RETRY_AFTER: Final = 2.0
#: Seconds that a command may take; checked with every tick, so not exact.
COMMAND_TIMEOUT: Final = 1.25
#: The same for a read, short because the request then uses the ordinary client.
READ_TIMEOUT: Final = 0.25
#: Bytes of commands that are sent before the end of the loop's iteration, so that the job store can
#: begin: a process at its limit creates a fifth more jobs.
EARLY_FLUSH_BYTES: Final = 4_096
#: Seconds between two attempts to connect.
MIN_RECONNECT_PAUSE: Final = 0.1
MAX_RECONNECT_PAUSE: Final = 0.5
#: Jobs whose command for reading their version is kept, about 150 bytes each.
MAX_KEPT_COMMANDS: Final = 4_096

log = structlog.get_logger(__name__)


class StoreConnection:
    """Passes published changes to the hub and runs commands of many requests together.

    It reconnects for as long as it takes, and then reads all jobs with subscribers again.
    """

    def __init__(
        self, subscription: EventSubscription, hub: Hub, stream_loop: StreamLoop, loop: Any
    ) -> None:
        """``stream_loop`` has the streams that subscribe to ``hub``; ``loop`` is gevent's."""
        self.hub = hub
        self._subscription = subscription
        self._stream_loop = stream_loop
        self._loop = loop
        self._lost = Event()
        #: The loop's watchers of the connection.
        self._read_watcher: Any = None
        self._write_watcher: Any = None
        self._flush_scheduled = False
        #: Callers that wait for a reply, and their deadlines. Not ``AsyncResult`` objects: their
        #: timeouts would cost as much as the rest of a status poll.
        self._callers: dict[Any, float] = {}
        gevent.spawn(self._stay_connected)

    def subscribe(self, job_id: str, subscriber: Subscriber) -> Job:
        """Subscribe to a job; return it as it was when the subscription began.

        Raises ``JobNotFound``, and ``BackendUnavailable`` if the job store does not respond in
        time.
        """
        snapshot: AsyncResult = AsyncResult()
        self.hub.subscribe(job_id, subscriber, snapshot.set, time.monotonic())
        self._schedule_flush()
        try:
            with time_budget.waiting(SUBSCRIBE_TIMEOUT) as timeout:
                job: Job | None = snapshot.get(timeout=timeout)
        except gevent.Timeout:
            self.unsubscribe(job_id, subscriber)
            raise BackendUnavailable(retry_after=RETRY_AFTER) from None
        if job is None:
            raise JobNotFound
        return job

    def unsubscribe(self, job_id: str, subscriber: Subscriber) -> None:
        self.hub.unsubscribe(job_id, subscriber)
        self._schedule_flush()

    def read_fields(self, job_id: str) -> Mapping[str, str]:
        """Return the job's fields as they are now.

        Raises ``JobNotFound``, and ``BackendUnavailable`` if the job store does not respond in
        time.
        """
        fields: Mapping[str, str] = self._read(pack("HGETALL", keys.status(job_id)))
        if not fields:
            raise JobNotFound
        return fields

    def read_version(self, job_id: str) -> list[str]:
        """Return ``version`` and ``updated_at``, Nones if there is no such job.

        Raises ``BackendUnavailable``.
        """
        found: list[str] = self._read(_read_version(job_id))
        return found

    def call(self, *command: str) -> Any:
        """Return the job store's reply to a command, or None if there is no connection.

        Raises ``ReplyError`` as hiredis does, and ``BackendUnavailable`` when the reply is lost or
        late: it is then unknown whether the command has run.
        """
        if not self._subscription.connected:
            return None
        return self._call(pack(*command), COMMAND_TIMEOUT)

    def tick(self, now: float) -> None:
        """Start heartbeats that are due, expire calls, and check that the job store responds."""
        self.hub.tick(now)
        self._fail_callers([caller for caller, end in self._callers.items() if end < now])
        if self._subscription.connected:
            try:
                self._subscription.check()
            except RedisError as error:
                self._disconnect(error)
        self._schedule_flush()

    def _stay_connected(self) -> None:
        while True:
            try:
                self._connect()
            except (RedisError, OSError) as error:
                log.warning("live updates: cannot connect to the job store", error=describe(error))
            except Exception:
                log.exception("live updates: connecting raised an unexpected error")
            else:
                self._lost.wait()
                continue
            self._close()
            gevent.sleep(random.uniform(MIN_RECONNECT_PAUSE, MAX_RECONNECT_PAUSE))  # noqa: S311

    def _connect(self) -> None:
        self._subscription.connect()
        self._lost.clear()
        self._read_watcher = self._loop.io(self._subscription.fileno(), READ)
        self._read_watcher.start(self._on_readable)
        self.hub.resubscribe()
        self._schedule_flush()

    def _on_readable(self) -> None:
        self._stream_loop.begin_batch()
        try:
            self._subscription.receive(self.hub.on_update)
        except (RedisError, OSError) as error:
            self._disconnect(error)
        finally:
            self._stream_loop.end_batch()
        if self._subscription.pending:
            self._flush()

    def _read(self, command: bytes) -> Any:
        if not self._subscription.connected:
            raise BackendUnavailable(retry_after=RETRY_AFTER)
        try:
            return self._call(command, READ_TIMEOUT)
        except ReplyError:
            # The server is loading, or no longer the primary: the ordinary client handles that.
            raise BackendUnavailable(retry_after=RETRY_AFTER) from None

    def _call(self, command: bytes, timeout: float) -> Any:
        """Send a command with all others of this iteration of the loop; return its reply."""
        caller = Waiter()
        budget, started = time_budget.current(), time.monotonic()
        self._callers[caller] = started + (budget.limit(timeout) if budget else timeout)
        self._subscription.call(command, caller.switch)
        if self._subscription.pending > EARLY_FLUSH_BYTES:
            # An error here occurs again at the end of the iteration, where it is handled.
            with suppress(RedisError, OSError):
                self._subscription.flush()
        self._schedule_flush()
        try:
            reply = caller.get()
        finally:
            # A late reply goes to this waiter, which is no longer read.
            del self._callers[caller]
            if budget:
                budget.spend(time.monotonic() - started)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def _fail_callers(self, callers: Iterable[Any]) -> None:
        for caller in callers:
            caller.throw(BackendUnavailable(retry_after=RETRY_AFTER))

    def _schedule_flush(self) -> None:
        """Send the queued commands, all together, at the end of the loop's iteration."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if not self._subscription.connected:
            return
        try:
            done = self._subscription.flush()
        except (RedisError, OSError) as error:
            self._disconnect(error)
            return
        if not done and self._write_watcher is None:
            self._write_watcher = self._loop.io(self._subscription.fileno(), WRITE)
            self._write_watcher.start(self._on_writable)

    def _on_writable(self) -> None:
        _close_watcher(self._write_watcher)
        self._write_watcher = None
        self._flush()

    def _disconnect(self, error: Exception) -> None:
        log.warning("live updates: lost the connection to the job store", error=describe(error))
        self._close()

    def _close(self) -> None:
        # A watcher has to be stopped before its file descriptor is closed.
        for watcher in (self._read_watcher, self._write_watcher):
            if watcher is not None:
                _close_watcher(watcher)
        self._read_watcher = self._write_watcher = None
        self._subscription.close()
        self._fail_callers(list(self._callers))
        self._lost.set()


def _close_watcher(watcher: Any) -> None:
    watcher.stop()
    watcher.close()


# A job is polled many times, and packing the command took 2 µs of 70.
@lru_cache(maxsize=MAX_KEPT_COMMANDS)
def _read_version(job_id: str) -> bytes:
    return pack("HMGET", keys.status(job_id), "version", "updated_at")
