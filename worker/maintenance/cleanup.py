"""Cleans up after failed attempts, in the object storage and in the job store.

``ArchiveBuilder.remove_uploads_of_ended_jobs`` removes what an upload log lists. The cleanup finds
the rest:

- An attempt that streams its archive writes below ``jobs/<job id>/<fencing token>/``, so the job
  shows whether an upload or an object there is still needed. Keys of unknown jobs may belong to
  another installation: the bucket's lifecycle rule deletes them.
- The response to CreateMultipartUpload may get lost. The upload then exists, no upload log has its
  id, and the next attempt creates another. An upload of a composed archive is not needed when
  no job builds that archive, or will resume building it.
- Dead letters and consumers of the state log that are too old.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import LockError, RedisError

from common.errors import DownloadError
from common.job_store import state_log
from common.job_store.build_lock import RedisBuildLock
from common.job_store.checkpoints import Checkpoints
from common.job_store.errors import describe
from common.jobs.transitions import JobState
from common.object_storage.lifecycle import STREAMED_PREFIX
from worker.archive.composing.upload_log import UploadLog
from worker.archive.listing import pages_below
from worker.archive.planning.archive_plan import PREFIX as COMPOSED_PREFIX
from worker.loop_thread import LoopThread

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.dead_letters import DeadLetters
    from common.job_store.periodic_task_lock import PeriodicTaskLock
    from common.job_store.queries import JobQueries
    from common.jobs.model import Job
    from common.object_storage import ObjectStorage
    from worker.archive_builder import ArchiveBuilder

#: Seconds between two attempts to prepare the storage, and between two rounds of the thread.
_RETRY_INTERVAL: Final = 1.0
_INTERVAL: Final = 60.0
#: Maximum of the seconds between the start of the worker and its first cleanup.
_MAX_START_DELAY: Final = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class CleanupResult:
    """How many of each kind a run removed."""

    uploads: int
    archives: int
    dead_letters: int
    consumers: int


class Cleanup:
    """One run of the cleanup. Idempotent, and safe to run anywhere at any time."""

    def __init__(
        self,
        client: Redis,
        queries: JobQueries,
        dead_letters: DeadLetters,
        storage: ObjectStorage,
        *,
        bucket: str,
        job_ttl: float,
        job_deadline: float,
    ) -> None:
        """``job_ttl``: seconds for which finished jobs are kept, dead letters included.

        ``job_deadline``: the longest run of an attempt, seconds.
        """
        self._client = client
        self._checkpoints = Checkpoints(client)
        self._queries = queries
        self._dead_letters = dead_letters
        self._storage = storage
        self._bucket = bucket
        self._job_ttl = job_ttl
        self._job_deadline = timedelta(seconds=job_deadline)

    def run(self, renew_lock: Callable[[], object] = lambda: None) -> CleanupResult:
        """Remove everything that is not needed. An error in one step does not affect the others.

        ``renew_lock`` is called between calls that may take long; a ``LockError`` ends the run.
        Raise the first error once all steps have run.
        """
        steps: tuple[tuple[str, Callable[[], int]], ...] = (
            # First, because they do not need the object storage.
            ("dead_letters", lambda: self._dead_letters.delete_old(self._job_ttl)),
            ("consumers", lambda: state_log.delete_idle_consumers(self._client)),
            ("uploads", lambda: self._abort_streamed_uploads(renew_lock)),
            ("uploads", lambda: self._abort_unlogged(renew_lock)),
            ("archives", lambda: self._delete_archives(renew_lock)),
        )
        removed, errors = {kind: 0 for kind, _ in steps}, []
        for kind, step in steps:
            try:
                removed[kind] += step()
            except LockError:
                raise  # Another worker may have started a run.
            except Exception as error:  # noqa: BLE001 - the first one is raised
                log.warning("step of the cleanup failed", removes=kind, reason=describe(error))
                errors.append(error)
        if any(removed.values()):
            log.info("cleanup finished", **removed)
        if errors:
            raise errors[0]
        return CleanupResult(**removed)

    def _abort_streamed_uploads(self, renew_lock: Callable[[], object]) -> int:
        found = {
            (upload.key, upload.upload_id)
            for upload in self._storage.list_multipart_uploads(self._bucket, STREAMED_PREFIX)
        }
        orphans = set(self._orphans(key for key, _ in found))
        aborted = 0
        for key, upload_id in found:
            if key in orphans:
                renew_lock()
                aborted += self._abort(key, upload_id)
        return aborted

    def _abort_unlogged(self, renew_lock: Callable[[], object]) -> int:
        """Abort uploads of composed archives that no upload log knows; return how many."""
        # While the job store is unavailable, an attempt builds without a log.
        begun_before = datetime.now(UTC) - self._job_deadline
        found = [
            upload
            for upload in self._storage.list_multipart_uploads(self._bucket, COMPOSED_PREFIX)
            if upload.initiated is None or upload.initiated < begun_before
        ]
        # Read only now: the upload log of a build exists before its uploads do.
        logged = {
            UploadLog.load(self._checkpoints.for_job(job_id)).plan_id
            for job_id in self._checkpoints.job_ids()
        }
        aborted = 0
        for upload in found:
            renew_lock()
            plan_id = upload.key.removeprefix(COMPOSED_PREFIX).split("/")[0]
            build_lock = RedisBuildLock(self._client, plan_id, "cleanup")
            if plan_id not in logged and build_lock.acquire():
                aborted += self._abort(upload.key, upload.upload_id)
                build_lock.release()
        return aborted

    def _abort(self, key: str, upload_id: str) -> bool:
        """Return whether the upload was aborted. A failure is only logged: others still are."""
        try:
            self._storage.abort_multipart_upload(self._bucket, key, upload_id)
        except DownloadError as error:
            log.warning("upload not aborted", key=key, reason=error.message)
            return False
        return True

    def _delete_archives(self, renew_lock: Callable[[], object]) -> int:
        deleted = 0
        for page in pages_below(self._storage, self._bucket, STREAMED_PREFIX):
            for key in self._orphans(entry.key for entry in page):
                renew_lock()
                deleted += self._delete(key)
            renew_lock()
        return deleted

    def _delete(self, key: str) -> bool:
        """Return whether the archive was deleted."""
        try:
            self._storage.delete_object(self._bucket, key)
        except DownloadError as error:
            log.warning("archive not deleted", key=key, reason=error.message)
            return False
        return True

    def _orphans(self, keys: Iterable[str]) -> Iterator[str]:
        attempts = {key: attempt for key in keys if (attempt := _attempt_of(key)) is not None}
        ids = sorted({job_id for job_id, _ in attempts.values()})
        jobs = {job.id: job for job in self._queries.get_many(ids)}
        for key, (job_id, token) in attempts.items():
            if job_id in jobs and not _is_needed(jobs[job_id], key, token):
                yield key


def _attempt_of(key: str) -> tuple[str, int] | None:
    """Return the job id and the fencing token that a key contains."""
    match key.removeprefix(STREAMED_PREFIX).split("/"):
        case [job_id, token, _] if token.isdecimal():
            return job_id, int(token)
    return None


def _is_needed(job: Job, key: str, token: int) -> bool:
    if job.status is JobState.PROCESSING:
        return job.fencing_token == token
    return job.status is JobState.COMPLETED and job.artifact is not None and job.artifact.key == key


class CleanupThread(LoopThread):
    """Prepares the storage when the worker starts, then cleans up until it stops.

    Each worker removes the uploads of ended jobs; the rest is left to the worker that gets the
    cleanup lock.
    """

    def __init__(self, archives: ArchiveBuilder, cleanup: Cleanup, lock: PeriodicTaskLock) -> None:
        super().__init__("cleanup")
        self._archives = archives
        self._cleanup = cleanup
        self._lock = lock
        # Many workers may start together: do not list the bucket from all of them.
        self._clean_up_at = time.monotonic() + random.uniform(0, _MAX_START_DELAY)  # noqa: S311

    def step(self) -> float:
        removed = self._remove_uploads()
        if time.monotonic() >= self._clean_up_at:
            self._run_cleanup()
            self._clean_up_at = time.monotonic() + _INTERVAL * random.uniform(0.8, 1.2)  # noqa: S311
        pause = max(0.0, self._clean_up_at - time.monotonic())
        return pause if removed else min(pause, _RETRY_INTERVAL)

    def _remove_uploads(self) -> bool:
        """Return whether the storage was prepared and the uploads of ended jobs removed."""
        try:
            self._archives.prepare()
            jobs = self._archives.remove_uploads_of_ended_jobs()
        except (DownloadError, RedisError) as error:
            log.warning("storage not ready", reason=describe(error))
            return False
        except Exception:
            log.exception("removing uploads raised an unexpected error")
            return False
        if jobs:
            log.info("uploads of ended jobs removed", jobs=jobs)
        return True

    def _clean_up(self, renew_lock: Callable[[], object]) -> None:
        try:
            self._cleanup.run(renew_lock)
        finally:
            renew_lock()  # Raises an error if another worker may have started a run.
            if deleted := self._archives.delete_expired(renew_lock):
                log.info("expired objects and uploads deleted", count=deleted)

    def _run_cleanup(self) -> None:
        try:
            self._lock.run_if_due(self._clean_up)
        except (DownloadError, RedisError) as error:
            log.warning("cleanup failed, it is tried again later", reason=describe(error))
        except Exception:
            log.exception("cleanup raised an unexpected error")
