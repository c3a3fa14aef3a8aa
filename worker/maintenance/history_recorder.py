"""The state log's reader that keeps history in PostgreSQL.

Entries are read, written in one transaction, then acknowledged. Whatever dies in between, they are
read again, and the tables take each (job id, version) once. While PostgreSQL is away nothing more
is read; the state log holds what comes (``common.job_store.state_log.MAX_ENTRIES``).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, SQLAlchemyError

from common.errors import JobNotFound
from common.history import Change, HistoryWriter, migrate
from common.history.writer import FORGET_BATCH
from common.job_store.state_log import StateLog
from common.jobs.transitions import TERMINAL, JobState
from worker import metrics

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from common.bootstrap import Services
    from common.job_store.queries import JobQueries
    from common.job_store.state_log import StateLogEntry
    from common.jobs.model import FileReport, Job

#: Entries of each partition in one transaction.
BATCH: Final = 50
#: Milliseconds that one read waits for something to come.
BLOCK: Final = 1_000
#: Milliseconds after which another process's unfinished entries are taken over.
ABANDONED: Final = 60_000
#: Seconds between looks for abandoned entries, and for jobs older than the retention.
TAKE_OVER_EVERY: Final = 30.0
FORGET_EVERY: Final = 3_600.0
#: Seconds between attempts while PostgreSQL or the store is away.
LONGEST_PAUSE: Final = 10.0

#: Expiry changes no file, so the reports are read once only.
_WITH_FILES: Final = TERMINAL - {JobState.EXPIRED}

log = structlog.get_logger(__name__)


def recorder_for(services: Services, engine: Engine, name: str) -> Recorder:
    """The recorder of the worker ``name``, on ``services.database``."""
    ttl = services.settings.history_ttl
    return Recorder(
        StateLog(services.redis, "history", name),
        HistoryWriter(engine),
        services.queries,
        migrate=partial(migrate, engine),
        retention=timedelta(seconds=ttl) if ttl else None,
        recorded=metrics.HISTORY_ENTRIES.inc,
    )


class Recorder:
    """A thread that records until it is stopped; every worker process may have one."""

    def __init__(
        self,
        state_log: StateLog,
        writer: HistoryWriter,
        queries: JobQueries,
        *,
        migrate: Callable[[], None],
        retention: timedelta | None,
        recorded: Callable[[int], object] = lambda _: None,
    ) -> None:
        """``migrate`` makes the tables, ``retention`` None keeps jobs for ever.

        ``recorded`` hears of how many entries each transaction kept.
        """
        self._state_log = state_log
        self._writer = writer
        self._queries = queries
        self._migrate = migrate
        self._retention = retention
        self._recorded = recorded
        self._ready = False
        self._held: list[StateLogEntry] = []
        self._take_over_at = 0.0
        # Spread out, so that many workers do not delete the same rows at once.
        self._forget_at = time.monotonic() + FORGET_EVERY * random.random()  # noqa: S311
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._record_for_ever, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the batch at hand; what is not finished then is another's to take over."""
        self._ended.set()
        self._thread.join(2 * BLOCK / 1000)

    def _record_for_ever(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            try:
                self.step()
                pause = 0.0
            except (RedisError, SQLAlchemyError) as error:
                pause = min(LONGEST_PAUSE, 2 * pause or 0.5)
                log.warning("history waits", error=type(error).__name__, held=len(self._held))

    def step(self) -> None:
        """One batch; after ``RedisError`` or ``SQLAlchemyError`` the next call repeats it."""
        self._prepare()
        if not self._held:
            self._held = self._next_entries()
        if self._held:
            self._keep(self._held)
            self._state_log.ack(self._held)
            self._recorded(len(self._held))
            self._held = []
        self._forget_old()

    def _prepare(self) -> None:
        if self._ready:
            return
        # First of all: from now on the state log keeps what this group has not read.
        self._state_log.join()
        self._migrate()
        self._ready = True

    def _next_entries(self) -> list[StateLogEntry]:
        if time.monotonic() >= self._take_over_at:
            self._take_over_at = time.monotonic() + TAKE_OVER_EVERY
            if abandoned := self._state_log.take_over(idle=ABANDONED, count=BATCH):
                return abandoned
        return self._state_log.read(count=BATCH, block=BLOCK)

    def _keep(self, entries: Sequence[StateLogEntry]) -> None:
        changes = [self._change(entry) for entry in entries]
        try:
            self._writer.record(changes)
        except DataError:
            self._keep_one_by_one(changes)

    def _keep_one_by_one(self, changes: Sequence[Change]) -> None:
        """One change that PostgreSQL can never take must not hold up all others for ever."""
        for change in changes:
            try:
                self._writer.record([change])
            except DataError:
                job = change.job
                log.exception("a change cannot be kept", job_id=job.id, version=job.version)

    def _change(self, entry: StateLogEntry) -> Change:
        if entry.delivery is None:
            return Change(job=entry.job, files=self._files(entry.job))
        attempt = orjson.loads(entry.delivery)
        return Change(job=entry.job, delivery={**attempt, "state": entry.delivery_state})

    def _files(self, job: Job) -> Sequence[FileReport]:
        if job.status not in _WITH_FILES:
            return ()
        try:
            return self._queries.files(job.id, self._queries.spec(job.id).file_ids)
        except JobNotFound:
            return ()

    def _forget_old(self) -> None:
        if self._retention is None or time.monotonic() < self._forget_at:
            return
        if self._writer.forget(self._retention) < FORGET_BATCH:
            self._forget_at = time.monotonic() + FORGET_EVERY
