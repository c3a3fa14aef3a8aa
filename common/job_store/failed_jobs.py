"""The jobs of all users that failed last: what an operator looks at when something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.job_store import keys
from common.job_store.queries import JobQueries
from common.jobs.model import Job
from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from redis import Redis


class FailedJobs:
    """The newest failures. Raises ``redis.exceptions.RedisError`` when the store is away."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._queries = JobQueries(client)

    def newest(self, limit: int) -> list[Job]:
        """Up to ``limit`` failed jobs, newest first; 50 of each partition are remembered.

        One that was run again or is forgotten meanwhile is passed over.
        """
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                pipe.zrange(_key(tag), 0, limit - 1, desc=True, withscores=True)
            rows: list[Any] = pipe.execute()
        found = sorted(((int(at), job_id) for row in rows for job_id, at in row), reverse=True)
        jobs = self._queries.get_many([job_id for _, job_id in found[:limit]])
        return [job for job in jobs if job.status is JobState.FAILED]


def _key(tag: str) -> str:
    return keys.of_partition("failures", tag)
