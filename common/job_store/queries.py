"""Reading jobs: plain commands, no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import orjson

from common.errors import JobNotFound
from common.job_store import keys
from common.job_store.records import decode_spec
from common.jobs.model import FileReport, Job, JobSpec
from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from redis import Redis


class JobQueries:
    """What is known of jobs. Raises ``redis.exceptions.RedisError`` when the store is away."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def get(self, job_id: str) -> Job:
        """The job as it is now. Raises ``JobNotFound``."""
        fields = cast("dict[str, str]", self._client.hgetall(keys.status(job_id)))
        if not fields:
            raise JobNotFound
        return Job.from_fields(fields)

    def owner(self, job_id: str) -> str:
        """The user who created the job. Raises ``JobNotFound``."""
        user = cast("str | None", self._client.hget(keys.status(job_id), "user"))
        if user is None:
            raise JobNotFound
        return user

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """The jobs that are still known, in the order asked for."""
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hgetall(keys.status(job_id))
            return [Job.from_fields(fields) for fields in pipe.execute() if fields]

    def processing(self, most: int) -> list[Job]:
        """Jobs that a worker has at hand, by the leases; ``most`` of each partition."""
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                pipe.zrange(keys.of_partition("leases", tag), 0, most - 1)
            leased = [job_id for ids in pipe.execute() for job_id in ids]
        return [job for job in self.get_many(leased) if job.status is JobState.PROCESSING]

    def list_ids(self, user: str, *, before: tuple[int, str] | None = None) -> list[str]:
        """Ids of the user's jobs, newest first.

        ``before`` is the (createdAt in ms, id) of the last job on the page before; None: the first.
        """
        found = cast(
            "list[tuple[str, float]]",
            self._client.zrange(keys.user_jobs(user), 0, -1, desc=True, withscores=True),
        )
        if before is not None:
            found = [(job_id, score) for job_id, score in found if (int(score), job_id) < before]
        return [job_id for job_id, _ in found]

    def page(
        self, user: str, *, before: tuple[int, str] | None, limit: int, status: JobState | None
    ) -> tuple[list[Job], bool]:
        """The next ``limit`` of the user's jobs, newest first, and whether there are more.

        ``before`` as for ``list_ids``; ``status`` None: in any state.
        """
        ids = self.list_ids(user, before=before)
        found: list[Job] = []
        for start in range(0, len(ids), limit + 1):
            jobs = self.get_many(ids[start : start + limit + 1])
            found += [job for job in jobs if status in (None, job.status)]
            if len(found) > limit:
                return found[:limit], True
        return found, False

    def spec(self, job_id: str) -> JobSpec:
        """What was asked for. Raises ``JobNotFound``."""
        text = cast("str | None", self._client.get(keys.spec(job_id)))
        if text is None:
            raise JobNotFound
        return decode_spec(text)

    def files(self, job_id: str, file_ids: Sequence[int]) -> list[FileReport]:
        """What the worker reported on these files; one not reported yet is ``pending``."""
        if not file_ids:
            return []
        reports = self._client.hmget(keys.files(job_id), [str(i) for i in file_ids])
        return [
            FileReport(**orjson.loads(text)) if text else FileReport(file_id=i, state="pending")
            for i, text in zip(file_ids, reports, strict=True)
        ]
