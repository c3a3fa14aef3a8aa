"""Copies the state log and the log of downloads to the history in PostgreSQL.

Entries are read, written in one transaction, then acknowledged. If anything dies in between, they
are read again, and the tables accept each (job id, version) once. While PostgreSQL is unavailable,
the state log keeps the entries, up to ``MAX_BYTES`` and ``MAX_ENTRIES`` of
``common.job_store.state_log``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as SQLAlchemyTimeoutError

from common.errors import JobNotFound
from common.history import Change, HistoryWriter, migrate
from common.history.writer import DELETE_BATCH
from common.job_store.download_log import DownloadLog
from common.job_store.errors import log_failure
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
#: Milliseconds that one read waits for new entries.
BLOCK: Final = 1_000
#: Milliseconds after which the unfinished entries of another process are taken over.
TAKE_OVER_AFTER: Final = 60_000
#: Seconds between two checks for such entries, and between two deletions of old jobs.
TAKE_OVER_INTERVAL: Final = 30.0
DELETE_INTERVAL: Final = 3_600.0
#: Seconds until a deletion that failed is tried again, with half as many jobs.
DELETE_RETRY_INTERVAL: Final = 60.0
#: Seconds between two readings of the log of downloads.
DOWNLOADS_INTERVAL: Final = 5.0
#: Maximum of the seconds between two attempts while a service is unavailable.
MAX_PAUSE: Final = 10.0

#: Expiry changes no file, so the reports are read only once.
_WITH_FILES: Final = TERMINAL - {JobState.EXPIRED}

log = structlog.get_logger(__name__)


def history_recorder_for(
    services: Services,
    engine: Engine,
    name: str,
    on_round: Callable[[], object],
    on_migration: Callable[[], object] = lambda: None,
) -> HistoryRecorder:
    """Return the recorder of the worker ``name``."""
    ttl = services.settings.history_ttl
    return HistoryRecorder(
        StateLog(services.redis, "history", name),
        DownloadLog(services.redis),
        HistoryWriter(engine),
        services.queries,
        migrate=partial(migrate, engine),
        retention=timedelta(seconds=ttl) if ttl else None,
        on_recorded=metrics.HISTORY_ENTRIES.inc,
        on_round=on_round,
        on_migration=on_migration,
    )


class HistoryRecorder:
    """A thread that records history until it is stopped. Every worker process may have one."""

    def __init__(
        self,
        state_log: StateLog,
        download_log: DownloadLog,
        writer: HistoryWriter,
        queries: JobQueries,
        *,
        migrate: Callable[[], None],
        retention: timedelta | None,
        on_recorded: Callable[[int], object] = lambda _: None,
        on_round: Callable[[], object] = lambda: None,
        on_migration: Callable[[], object] = lambda: None,
    ) -> None:
        """``migrate`` creates the tables. With ``retention`` None, jobs are kept forever.

        ``on_recorded`` is called with the number of entries in each transaction, ``on_round``
        before each attempt to record some, ``on_migration`` before ``migrate``, which may take
        hours.
        """
        self._state_log = state_log
        self._download_log = download_log
        self._writer = writer
        self._queries = queries
        self._migrate = migrate
        self._retention = retention
        self._on_recorded = on_recorded
        self._on_round = on_round
        self._on_migration = on_migration
        self._prepared = False
        self._unfinished: list[StateLogEntry] = []
        self._take_over_at = 0.0
        self._downloads_at = 0.0
        # With jitter, so that many workers do not delete the same rows at the same time.
        self._delete_at = time.monotonic() + DELETE_INTERVAL * random.random()  # noqa: S311
        self._delete_count = DELETE_BATCH
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current batch. Another process takes over what is unfinished."""
        self._stopped.set()
        # A thread that waits for entries holds none: there is no reason to wait for it.
        if self._unfinished:
            self._thread.join(2.0)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            self._on_round()
            try:
                self.step()
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - logged there
                pause = min(MAX_PAUSE, 2 * pause or 0.5)
                self._log_failure(error)

    def _log_failure(self, error: Exception) -> None:
        event, unfinished = "history not recorded", len(self._unfinished)
        if isinstance(error, RedisError):
            log_failure(log, event, error, unfinished=unfinished)
        elif isinstance(error, OperationalError | SQLAlchemyTimeoutError):
            # The first line names the cause; the rest is the statement.
            reason = str(error).partition("\n")[0]
            log.warning(event, cause="PostgreSQL unavailable", error=reason, unfinished=unfinished)
        else:
            log.error(event, unfinished=unfinished, exc_info=error)

    def step(self) -> None:
        """Record one batch. After ``RedisError`` or ``SQLAlchemyError``, call it again."""
        self._prepare()
        if not self._unfinished:
            self._unfinished = self._next_entries()
        if self._unfinished:
            self._record(self._unfinished)
            self._state_log.ack(self._unfinished)
            self._on_recorded(len(self._unfinished))
            self._unfinished = []
        self._record_downloads()
        self._delete_old()

    def _prepare(self) -> None:
        if self._prepared:
            return
        # Before the migration: from now on the state log keeps what this group has not read.
        self._state_log.create_group()
        self._on_migration()
        self._migrate()
        self._prepared = True
        self._on_round()

    def _next_entries(self) -> list[StateLogEntry]:
        if time.monotonic() >= self._take_over_at:
            self._take_over_at = time.monotonic() + TAKE_OVER_INTERVAL
            if abandoned := self._state_log.claim_idle(idle_ms=TAKE_OVER_AFTER, count=BATCH):
                return abandoned
        entries = self._state_log.read(count=BATCH, block=BLOCK)
        if not entries and not self._state_log.can_block:
            # Otherwise the next read would follow immediately.
            self._stopped.wait(BLOCK / 1000)
        return entries

    def _record(self, entries: Sequence[StateLogEntry]) -> None:
        changes = [self._change(entry) for entry in entries]
        try:
            self._writer.record(changes)
        except DataError:
            self._record_one_by_one(changes)

    def _record_one_by_one(self, changes: Sequence[Change]) -> None:
        """Record the others when PostgreSQL rejects one change."""
        for change in changes:
            try:
                self._writer.record([change])
            except DataError:
                job = change.job
                log.exception("change rejected by PostgreSQL", job_id=job.id, version=job.version)

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
        except (KeyError, TypeError, ValueError):
            log.exception("files not recorded: the request is not one of this release")
            return ()

    def _record_downloads(self) -> None:
        """Record counted downloads. Other processes may record the same ones at the same time."""
        if time.monotonic() < self._downloads_at:
            return
        downloads = self._download_log.read(count=BATCH)
        if downloads:
            job_ids = sorted({download.job_id for download in downloads})
            try:
                self._writer.record_downloads(self._known_jobs(job_ids), downloads)
            except DataError:
                log.exception("jobs rejected by PostgreSQL", job_ids=job_ids)
                self._writer.record_downloads([], downloads)
            self._download_log.delete(downloads)
        else:
            self._downloads_at = time.monotonic() + DOWNLOADS_INTERVAL

    def _known_jobs(self, job_ids: Sequence[str]) -> list[Job]:
        jobs = []
        for job_id in job_ids:
            with suppress(JobNotFound):
                jobs.append(self._queries.get(job_id))
        return jobs

    def _delete_old(self) -> None:
        if self._retention is None or time.monotonic() < self._delete_at:
            return
        # Before the attempt: one that fails, for example because its statement timed out, must not
        # be repeated in every step, or recording falls behind.
        self._delete_at = time.monotonic() + DELETE_RETRY_INTERVAL
        count = self._delete_count
        self._delete_count = max(1, count // 2)
        deleted = self._writer.delete_old(self._retention, limit=count)
        self._delete_count = min(DELETE_BATCH, 2 * count)
        self._delete_at = time.monotonic() + (DELETE_INTERVAL if deleted < count else 0.0)
