"""Which jobs need an archive, so that a shared one is deleted when the last of them releases it.

Jobs of different users share an archive, and so do partitions: no script can see all of its jobs.
So each archive has a set of references of its own. An attempt adds one before it looks for the
archive or builds it. A job that releases its archive puts the archive on the removal list of its
partition, in the same script. A worker then removes the references of jobs that have released it,
and deletes the object if none is left.

A reference contains the fencing token of its attempt. So a job that is restarted in between has
another reference, and removing the old one does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import orjson

from common.job_store import keys
from common.job_store.queries import JobQueries
from common.job_store.records import milliseconds
from common.job_store.scripts import Scripts
from common.jobs.model import Job, Lease
from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from redis import Redis

#: Seconds for which no job may hold an archive that is being deleted.
REMOVAL_LOCK_EXPIRY: Final = 60.0
#: Seconds that the deletion of the object may take. The difference is for a worker that stalls.
DELETE_TIMEOUT: Final = 10.0
#: Seconds between two checks of an archive that an unfinished job needs.
RECHECK_INTERVAL: Final = 60.0
#: References that are checked at once.
PAGE_SIZE: Final = 100

REMOVING: Final = "removing"


class ArchiveReferences:
    """The references of all archives. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._scripts = Scripts(client)

    def hold(self, object_key: str, lease: Lease, *, keep: float) -> bool:
        """Record that a job needs an archive, for ``keep`` seconds at most.

        Return False while the object is being deleted: then the job has to try again.
        """
        args = {
            "reference": f"{lease.job_id} {lease.fencing_token}",
            "keep": milliseconds(keep),
        }
        code, *_ = self._scripts.call("archive_hold", keys.archive_references(object_key), args)
        return bool(code == "HELD")

    def try_to_remove(self, object_key: str, unneeded: Sequence[str] = ()) -> list[str] | None:
        """Return references that keep the archive; without any, the caller may delete the object.

        ``unneeded``: references to remove first. None: another worker is deleting the object.
        """
        args = {
            "unneeded": orjson.dumps(list(unneeded)).decode(),
            "within": milliseconds(REMOVAL_LOCK_EXPIRY),
            "limit": PAGE_SIZE,
        }
        code, *held = self._scripts.call(
            "archive_remove", keys.archive_references(object_key), args
        )
        return None if code == "REMOVING" else held

    def removed(self, object_key: str) -> None:
        """Let jobs hold the archive again: they find that the object is gone, and build it."""
        self._client.zrem(keys.archive_references(object_key), REMOVING)


class ArchiveRemovals:
    """The archives that jobs released. Raises ``RedisError`` when the store is unavailable."""

    def __init__(
        self,
        client: Redis,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._clock = clock
        self._monotonic = monotonic
        self._queries = JobQueries(client)
        self._references = ArchiveReferences(client)

    def due(self, limit: int) -> list[tuple[str, str]]:
        """Return removal list and entry of what is due, at most ``limit`` of each partition."""
        now = round(self._clock() * 1000)
        lists = [keys.of_partition("removals", tag) for tag in keys.all_tags()]
        with self._client.pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.zrangebyscore(name, "-inf", now, start=0, num=limit)
            found = pipe.execute()
        return [
            (name, entry) for name, entries in zip(lists, found, strict=True) for entry in entries
        ]

    def done(self, name: str, entry: str) -> None:
        """Remove an entry from its list."""
        self._client.zrem(name, entry)

    def postpone(self, name: str, entry: str, seconds: float) -> None:
        """Make an entry due again later, unless it is done meanwhile."""
        self._client.zadd(name, {entry: round((self._clock() + seconds) * 1000)}, xx=True)

    def remove(self, object_key: str, delete: Callable[[], None]) -> float:
        """Call ``delete`` if no job needs the archive.

        Return the seconds until it should be checked again; 0 if the object was deleted.
        """
        unneeded: list[str] = []
        while True:
            began = self._monotonic()
            held = self._references.try_to_remove(object_key, unneeded)
            if held is None:
                return RECHECK_INTERVAL
            if not held:
                break
            jobs = {job.id: job for job in self._queries.get_many([_job_id(each) for each in held])}
            needing = [
                job
                for each in held
                if (job := jobs.get(_job_id(each))) and needs_archive(job, object_key)
            ]
            if needing:
                return self._recheck_delay(needing)
            unneeded = held
        # After REMOVAL_LOCK_EXPIRY, a job may hold the archive again, which a late deletion would
        # harm.
        if self._monotonic() - began > DELETE_TIMEOUT:
            return RECHECK_INTERVAL
        delete()
        self._references.removed(object_key)
        return 0.0

    def remove_unheld(
        self, object_keys: Sequence[str], delete: Callable[[Sequence[str]], None]
    ) -> int:
        """Call ``delete`` with those of the archives that no job holds; return their number.

        For many archives that should no longer be needed. It does not check whether the jobs that
        hold an archive still need it: their references expire.
        """
        began = self._monotonic()
        unheld = [key for key in object_keys if self._references.try_to_remove(key) == []]
        if not unheld or self._monotonic() - began > DELETE_TIMEOUT:
            return 0
        delete(unheld)
        for key in unheld:
            self._references.removed(key)
        return len(unheld)

    def _recheck_delay(self, jobs: Sequence[Job]) -> float:
        """Return the seconds until the archive may be free: one of the jobs keeps it until then."""
        latest = max((job.expires_at or 0) / 1000 - self._clock() for job in jobs)
        return max(RECHECK_INTERVAL, latest)


def needs_archive(job: Job, object_key: str) -> bool:
    """Return whether a job has the archive, or may still get it."""
    if job.status is JobState.COMPLETED:
        return job.artifact is not None and job.artifact.key == object_key
    return not job.terminal


def _job_id(reference: str) -> str:
    return reference.partition(" ")[0]
