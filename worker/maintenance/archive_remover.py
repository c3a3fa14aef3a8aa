"""Deletes the objects of archives that jobs released; see ``job_store.archive_references``.

A job releases its archive when its user deletes it, when a time of its own (``expiresIn``) ends, or
when it runs again because the archive lacks files. Everything else is deleted by the storage, by
the age of the objects.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.errors import DownloadError
from common.job_store.archive_references import DELETE_TIMEOUT
from common.job_store.errors import log_failure
from common.object_storage import Cancellation
from common.object_storage.lifecycle import STREAMED_PREFIX
from common.object_storage.retry_budget import RetryBudget
from worker.archive.planning.archive_plan import PREFIX as COMPOSED_PREFIX
from worker.loop_thread import LoopThread

if TYPE_CHECKING:
    from common.job_store.archive_references import ArchiveRemovals
    from common.object_storage import ObjectStorage

#: Archives of each partition that one round processes.
BATCH: Final = 20
#: Seconds between two rounds.
INTERVAL: Final = 2.0
#: Seconds until a deletion that failed is tried again.
RETRY_INTERVAL: Final = 30.0
#: The prefixes of archives. A single file is delivered from its source, and never deleted.
PREFIXES: Final = (COMPOSED_PREFIX, STREAMED_PREFIX)

log = structlog.get_logger(__name__)


class ArchiveRemover(LoopThread):
    """A thread of each worker. Any number of them may run at the same time."""

    def __init__(self, removals: ArchiveRemovals, storage: ObjectStorage, *, bucket: str) -> None:
        """``bucket``: the one for archives."""
        super().__init__("archive-remover")
        self._removals = removals
        self._storage = storage
        self._bucket = bucket

    def step(self) -> float:
        try:
            for name, entry in self._removals.due(BATCH):
                self._process_entry(name, entry)
        except RedisError as error:
            log_failure(log, "archives not deleted yet", error)
        except Exception:
            log.exception("deleting archives raised an unexpected error")
        # With jitter, so that the workers take turns.
        return INTERVAL * random.uniform(0.5, 1.5)  # noqa: S311

    def _process_entry(self, name: str, entry: str) -> None:
        bucket, _, key = entry.partition("/")
        if bucket != self._bucket or not key.startswith(PREFIXES):
            self._removals.done(name, entry)
            return
        try:
            retry_in = self._removals.remove(key, lambda: self._delete(key))
        except DownloadError as error:
            log.warning("archive not deleted, it is tried again later", reason=error.message)
            retry_in = RETRY_INTERVAL
        if retry_in:
            self._removals.postpone(name, entry, retry_in)
        else:
            self._removals.done(name, entry)
            log.info("archive deleted", key=key)

    def _delete(self, key: str) -> None:
        # Not retried: the time for the deletion is limited.
        without_retries = Cancellation(RetryBudget(max_retries=0))
        self._storage.delete_object(
            self._bucket, key, timeout=DELETE_TIMEOUT, cancellation=without_retries
        )
