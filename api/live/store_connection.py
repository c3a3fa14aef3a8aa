"""One connection to the store and its hub, kept alive on gevent's event loop."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import gevent
import structlog
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from gevent.hub import Waiter
from hiredis import ReplyError
from redis.exceptions import RedisError

from api.live.event_loop import READ, WRITE, StreamLoop
from api.live.hub import Hub, Subscriber
from common.errors import BackendUnavailable, JobNotFound
from common.job_store import keys
from common.job_store.subscription import EventSubscription
from common.jobs.model import Job

#: Seconds until a caller is told that the store does not answer, and until it may ask again.
PATIENCE: Final = 1.5
RETRY_AFTER: Final = 2.0
#: Seconds that a command may take, as far as ticks tell them.
CALL_PATIENCE: Final = 1.25
#: Seconds for a mere reading, as far as ticks tell them: who gives up can ask by another way.
READ_PATIENCE: Final = 0.25
#: Bytes of commands that do not wait for the end of the turn, so that the store can begin with
#: them: a fifth more jobs are accepted at saturation.
EARLY: Final = 4_096
#: Longest pause between two attempts to reach the store, seconds.
RECONNECT: Final = 0.5

log = structlog.get_logger(__name__)


class StoreConnection:
    """Reads the feed into the hub; reconnects for as long as it takes, then reads all anew."""

    def __init__(self, feed: EventSubscription, hub: Hub, crowd: StreamLoop, loop: Any) -> None:
        """``crowd`` has the streams that watch by ``hub``; ``loop`` is gevent's."""
        self.hub = hub
        self._feed = feed
        self._crowd = crowd
        self._loop = loop
        self._lost = Flag()
        #: The loop's watchers of the feed's connection.
        self._readable: Any = None
        self._writable: Any = None
        self._flushing = False
        #: Who waits for an answer, and until when. Not AsyncResults: their timeouts would cost as
        #: much as the rest of a poll's way to the store and back.
        self._callers: dict[Any, float] = {}
        gevent.spawn(self._stay_connected)

    def join(self, job_id: str, watcher: Subscriber) -> Job:
        """Watch a job; it as it was when the watch began.

        Raises ``JobNotFound``, and ``BackendUnavailable`` when the store does not answer in time.
        """
        answer: AsyncResult = AsyncResult()
        self.hub.join(job_id, watcher, answer.set, time.monotonic())
        self._flush_soon()
        try:
            job: Job | None = answer.get(timeout=PATIENCE)
        except gevent.Timeout:
            self.leave(job_id, watcher)
            raise BackendUnavailable(retry_after=RETRY_AFTER) from None
        if job is None:
            raise JobNotFound
        return job

    def read_fields(self, job_id: str) -> Mapping[str, str]:
        """The job's fields as they are now.

        Raises ``JobNotFound``, and ``BackendUnavailable`` when the store does not answer in time.
        """
        fields: Mapping[str, str] = self._read("HGETALL", keys.status(job_id))
        if not fields:
            raise JobNotFound
        return fields

    def read_version(self, job_id: str) -> list[str]:
        """Version and ``updated_at``, Nones where there is no such job. Raises as ``read``."""
        found: list[str] = self._read("HMGET", keys.status(job_id), "version", "updated_at")
        return found

    def call(self, *command: str) -> Any:
        """The store's answer to a command, or None when there is no connection to send it by.

        Raises ``ReplyError`` as hiredis does, and ``BackendUnavailable`` when the answer is lost or
        late: whether the command was carried out is unknown then.
        """
        return self._ask(command, CALL_PATIENCE) if self._feed.connected else None

    def leave(self, job_id: str, watcher: Subscriber) -> None:
        """Watch no longer."""
        self.hub.leave(job_id, watcher)
        self._flush_soon()

    def tick(self, now: float) -> None:
        """Start heartbeats that are due, and see whether the store is still there."""
        self.hub.tick(now)
        self._give_up_calls([caller for caller, until in self._callers.items() if until < now])
        if self._feed.connected:
            try:
                self._feed.check()
            except RedisError as error:
                self._disconnect(error)
        self._flush_soon()

    def _stay_connected(self) -> None:
        while True:
            try:
                self._feed.connect()
            except (RedisError, OSError) as error:
                log.warning("live updates: the job store cannot be reached", error=repr(error))
                gevent.sleep(random.uniform(0.1, RECONNECT))  # noqa: S311
                continue
            self._lost.clear()
            self._readable = self._loop.io(self._feed.fileno(), READ)
            self._readable.start(self._pump)
            self.hub.resubscribe()
            self._flush_soon()
            self._lost.wait()

    def _pump(self) -> None:
        """The feed has something to read."""
        self._crowd.cork()
        try:
            self._feed.receive(self.hub.change)
        except (RedisError, OSError) as error:
            self._disconnect(error)
        finally:
            self._crowd.uncork()
        if self._feed.pending:
            self._flush()

    def _read(self, *command: str) -> Any:
        if not self._feed.connected:
            raise BackendUnavailable(retry_after=RETRY_AFTER)
        try:
            return self._ask(command, READ_PATIENCE)
        except ReplyError:
            # It is loading, or no longer the one to ask: the ordinary client knows what to do.
            raise BackendUnavailable(retry_after=RETRY_AFTER) from None

    def _ask(self, command: Iterable[str], patience: float) -> Any:
        """The answer: together with whatever else is asked for in this turn of the loop."""
        caller = Waiter()
        self._callers[caller] = time.monotonic() + patience
        self._feed.call(command, caller.switch)
        if self._feed.pending > EARLY:
            # What fails here fails once more at the end of the turn, where it is dealt with.
            with suppress(RedisError, OSError):
                self._feed.flush()
        self._flush_soon()
        try:
            reply = caller.get()
        finally:
            # An answer that comes later still finds a waiter for whom nobody waits.
            del self._callers[caller]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def _give_up_calls(self, callers: Iterable[Any]) -> None:
        for caller in callers:
            caller.throw(BackendUnavailable(retry_after=RETRY_AFTER))

    def _flush_soon(self) -> None:
        """Send what the feed has queued, in this turn of the loop, all of it together."""
        if not self._flushing:
            self._flushing = True
            self._loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._feed.connected:
            return
        try:
            done = self._feed.flush()
        except (RedisError, OSError) as error:
            self._disconnect(error)
            return
        if not done and self._writable is None:
            self._writable = self._loop.io(self._feed.fileno(), WRITE)
            self._writable.start(self._on_writable)

    def _on_writable(self) -> None:
        _stop(self._writable)
        self._writable = None
        self._flush()

    def _disconnect(self, error: Exception) -> None:
        log.warning("live updates: the job store's connection is lost", error=repr(error))
        # A watcher has to stop before its file descriptor is closed.
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                _stop(watcher)
        self._readable = self._writable = None
        self._feed.close()
        self._give_up_calls(list(self._callers))
        self._lost.set()


def _stop(watcher: Any) -> None:
    watcher.stop()
    watcher.close()
