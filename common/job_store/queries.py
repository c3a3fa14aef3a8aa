"""Reads jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from common.errors import JobNotFound
from common.job_store import keys
from common.job_store.records import decode_grant, decode_report, decode_spec, report_field
from common.job_store.scripts import Scripts
from common.jobs.model import FileGrant, FileReport, Job, JobSpec, number_copies
from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from redis import Redis


#: Jobs that one page of a list reads, at about 4 microseconds of the store's time each.
MAX_READ: Final = 250

#: The place of a job in a list: its creation time in milliseconds, and its ID.
Position = tuple[int, str]


def position_of(job: Job) -> Position:
    """Return the place of the job in a list."""
    return job.created_at, job.id


class JobQueries:
    """Reads jobs. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._scripts = Scripts(client)

    def get(self, job_id: str) -> Job:
        """Return the job as it is now. Raises ``JobNotFound``."""
        fields = cast("dict[str, str]", self._client.hgetall(keys.status(job_id)))
        if not fields:
            raise JobNotFound
        return Job.from_fields(fields)

    def owner(self, job_id: str) -> str:
        """Return the user who created the job. Raises ``JobNotFound``."""
        user = cast("str | None", self._client.hget(keys.status(job_id), "user"))
        if user is None:
            raise JobNotFound
        return user

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Return the jobs that still exist, in the order of ``job_ids``."""
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hgetall(keys.status(job_id))
            return [Job.from_fields(fields) for fields in pipe.execute() if fields]

    def processing(self, max_per_partition: int) -> list[Job]:
        """Return jobs that workers hold leases of, at most so many of each partition."""
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                pipe.zrange(keys.of_partition("leases", tag), 0, max_per_partition - 1)
            leased = [job_id for ids in pipe.execute() for job_id in ids]
        return [job for job in self.get_many(leased) if job.status is JobState.PROCESSING]

    def page(
        self, user: str, *, before: Position | None, limit: int, status: JobState | None
    ) -> tuple[list[Job], Position | None]:
        """Return up to ``limit`` of the user's jobs, newest first, and where the next page begins.

        ``before`` is what the previous page returned, or None; ``status`` None: in any state. The
        next page begins at None if there is none. The cost does not depend on the number of jobs
        that the user has: a page may have fewer jobs than ``limit``, even none, although others
        follow.
        """
        created_at, job_id = before or ("", "")
        args = {
            "user": user,
            "status": status.value if status else "",
            "before": created_at,
            "before_id": job_id,
            "limit": limit + 1,
            "max_read": max(MAX_READ, limit + 1),
        }
        _, last_at, last_id, *ids = self._scripts.call("list", keys.user_jobs(user), args)
        found = self.get_many(ids[:limit])
        end = (int(float(last_at)), last_id) if last_id else None
        if len(ids) > limit and found:
            end = position_of(found[-1])
        # A job may have changed since it was listed.
        return [job for job in found if status in (None, job.status)], end

    def bytes_today(self, user: str) -> int:
        """Return the bytes of today's archives of a user with a plan."""
        day = int(time.time() // 86_400)
        return int(cast("str | None", self._client.get(keys.user_bytes(user, day))) or 0)

    def spec(self, job_id: str) -> JobSpec:
        """Return the job's request. Raises ``JobNotFound``."""
        return decode_spec(self._request(job_id))

    def request(self, job_id: str) -> tuple[JobSpec, FileGrant]:
        """Return the job's request, and why it may have the files. Raises ``JobNotFound``."""
        text = self._request(job_id)
        return decode_spec(text), decode_grant(text)

    def _request(self, job_id: str) -> str:
        text = cast("str | None", self._client.get(keys.spec(job_id)))
        if text is None:
            raise JobNotFound
        return text

    def files(self, job_id: str, file_ids: Sequence[int], *, start: int = 0) -> list[FileReport]:
        """Return the worker's reports on these files; one without a report is ``pending``.

        An id that occurs again stands for the file's next path, so the ids must begin with the
        first one of the job. The reports begin with the one at index ``start``.
        """
        copies = number_copies(file_ids)[start:]
        if not copies:
            return []
        reports = self._client.hmget(keys.files(job_id), [report_field(*copy) for copy in copies])
        return [
            decode_report(text) if text else FileReport(file_id=i, copy=copy, state="pending")
            for (i, copy), text in zip(copies, reports, strict=True)
        ]


class FailedJobs:
    """The newest failed jobs of all users. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._queries = JobQueries(client)

    def newest(self, limit: int) -> list[Job]:
        """Return up to ``limit`` failed jobs, newest first; 50 of each partition are listed.

        Jobs that were restarted or have expired since are left out.
        """
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                key = keys.of_partition("failures", tag)
                pipe.zrange(key, 0, limit - 1, desc=True, withscores=True)
            rows: list[Any] = pipe.execute()
        pairs = sorted(((int(at), job_id) for row in rows for job_id, at in row), reverse=True)
        jobs = self._queries.get_many([job_id for _, job_id in pairs[:limit]])
        return [job for job in jobs if job.status is JobState.FAILED]
