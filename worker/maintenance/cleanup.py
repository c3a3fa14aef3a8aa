"""Putting away what dead attempts left behind; beat sends for it every few minutes.

An attempt that streams its archive writes below ``jobs/<job id>/<fencing token>/``, so the job
tells whether an upload or object there is still somebody's. Composed archives have a journal and
are tidied by ``ArchiveBuilder.clear_leftovers``, but for uploads that nobody knows of
(worker/maintenance/abandoned_uploads.py). What belongs to no known job may be another installation's: it is left to the
bucket's lifecycle rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from common.job_store import state_log
from common.jobs.transitions import JobState
from worker.maintenance.abandoned_uploads import abort_forgotten

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.dead_letters import DeadLetters
    from common.job_store.queries import JobQueries
    from common.jobs.model import Job
    from common.object_storage import ObjectStorage

PREFIX: Final = "jobs/"
#: Objects in one look at the bucket, and looks in one run.
PAGE: Final = 1_000
PAGES: Final = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class CleanupResult:
    """How much a run put away."""

    uploads: int
    archives: int
    dead_letters: int
    consumers: int


class Cleanup:
    """Idempotent, and safe to run anywhere at any time, twice at once too."""

    def __init__(
        self,
        client: Redis,
        queries: JobQueries,
        dead_letters: DeadLetters,
        store: ObjectStorage,
        *,
        bucket: str,
        job_ttl: float,
    ) -> None:
        """``job_ttl``: seconds for which a finished job is remembered, dead letters included."""
        self._client = client
        self._queries = queries
        self._dead_letters = dead_letters
        self._store = store
        self._bucket = bucket
        self._job_ttl = job_ttl

    def run(self) -> CleanupResult:
        """Everything once. Raises ``RedisError`` and ``DownloadError`` when a service is away."""
        tidied = CleanupResult(
            uploads=self._abort_uploads()
            + abort_forgotten(self._client, self._store, self._bucket),
            archives=self._delete_archives(),
            dead_letters=self._dead_letters.delete_old(self._job_ttl),
            consumers=state_log.forget_consumers(self._client),
        )
        if any(vars(tidied).values()):
            log.info("put away", **vars(tidied))
        return tidied

    def _abort_uploads(self) -> int:
        found = {
            (upload.key, upload.upload_id)
            for upload in self._store.list_multipart_uploads(self._bucket, PREFIX)
        }
        orphans = set(self._orphans(key for key, _ in found))
        aborted = [(key, upload_id) for key, upload_id in found if key in orphans]
        for key, upload_id in aborted:
            self._store.abort_multipart_upload(self._bucket, key, upload_id)
        return len(aborted)

    def _delete_archives(self) -> int:
        deleted = 0
        for keys in self._pages():
            orphans = list(self._orphans(keys))
            for key in orphans:
                self._store.delete_object(self._bucket, key)
            deleted += len(orphans)
        return deleted

    def _pages(self) -> Iterator[list[str]]:
        after = ""
        for _ in range(PAGES):
            page = self._store.list_objects_v2(
                self._bucket, prefix=PREFIX, start_after=after, limit=PAGE
            )
            yield [entry.key for entry in page]
            if len(page) < PAGE:
                return
            after = page[-1].key

    def _orphans(self, keys: Iterable[str]) -> Iterator[str]:
        places = {key: place for key in keys if (place := _place(key)) is not None}
        jobs = self._jobs({job_id for job_id, _ in places.values()})
        for key, (job_id, token) in places.items():
            if job_id in jobs and not _is_needed(jobs[job_id], key, token):
                yield key

    def _jobs(self, ids: set[str]) -> Mapping[str, Job]:
        return {job.id: job for job in self._queries.get_many(sorted(ids))}


def _place(key: str) -> tuple[str, int] | None:
    """The job and the fencing token that a key tells of."""
    match key.removeprefix(PREFIX).split("/"):
        case [job_id, token, _] if token.isdecimal():
            return job_id, int(token)
    return None


def _is_needed(job: Job, key: str, token: int) -> bool:
    if job.status is JobState.PROCESSING:
        return job.fencing_token == token
    return job.status is JobState.COMPLETED and job.artifact is not None and job.artifact.key == key
