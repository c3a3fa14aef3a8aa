"""Dead letters: jobs that failed with a retryable error and have no attempts left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from common.errors import JobNotFound
from common.job_store import keys
from common.job_store.jobs import OPERATOR
from common.job_store.queries import JobQueries
from common.jobs.model import Job

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.jobs import JobStore


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """One attempt that ended without an archive. Times are milliseconds since 1970."""

    attempt: int
    worker: str | None
    started_at: int | None
    ended_at: int
    error_code: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A dead letter with all its attempts."""

    job: Job
    #: Milliseconds since 1970.
    since: int
    attempts: tuple[AttemptRecord, ...]


class DeadLetters:
    """All dead letters. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis, jobs: JobStore) -> None:
        self._client = client
        self._jobs = jobs
        self._queries = JobQueries(client)

    def page(self, *, before: tuple[int, str] | None, limit: int) -> tuple[list[DeadLetter], bool]:
        """Return up to ``limit`` dead letters, newest first, and whether there are more.

        ``before`` is the (since, job id) of the last one on the previous page; None: first page.
        """
        pairs = self._newest(before, limit)
        ids = [job_id for _, job_id in pairs[:limit]]
        jobs = {job.id: job for job in self._queries.get_many(ids)}
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.lrange(keys.attempts(job_id), 0, -1)
            attempts = pipe.execute()
        letters = [
            DeadLetter(job=jobs[job_id], since=since, attempts=tuple(map(_attempt, texts)))
            for (since, job_id), texts in zip(pairs, attempts, strict=False)
            if job_id in jobs
        ]
        return letters, len(pairs) > limit

    def filter_ids(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of the jobs that are dead letters."""
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.zscore(_key(keys.tag_of_job(job_id)), job_id)
            scores = pipe.execute()
        return {job_id for job_id, since in zip(job_ids, scores, strict=True) if since is not None}

    def attempts(self, job_id: str) -> list[AttemptRecord]:
        """Return the newest attempts of a job that ended without an archive, oldest first."""
        texts: Any = self._client.lrange(keys.attempts(job_id), 0, -1)
        return [_attempt(text) for text in texts]

    def requeue(self, job_id: str) -> Job:
        """Run a dead letter again, with the full number of attempts, beyond its user's limits.

        Raises ``JobNotFound`` when the job is not a dead letter.
        """
        if self._client.zscore(_key(keys.tag_of_job(job_id)), job_id) is None:
            raise JobNotFound("Dead letter not found.")
        return self._jobs.restart(job_id, by=OPERATOR, limited=False)

    def delete_old(self, age: float) -> int:
        """Delete dead letters older than ``age`` seconds and return their number."""
        latest = round((time.time() - age) * 1000)
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                pipe.zremrangebyscore(_key(tag), "-inf", latest)
            return sum(pipe.execute())

    def _newest(self, before: tuple[int, str] | None, limit: int) -> list[tuple[int, str]]:
        """Return up to ``limit + 1`` pairs (since, job id), newest first."""
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                if before is None:
                    pipe.zrange(_key(tag), 0, limit, desc=True, withscores=True)
                else:
                    # Those of the same millisecond are ordered by their ids, below.
                    pipe.zrange(_key(tag), before[0], before[0], byscore=True, withscores=True)
                    pipe.zrevrangebyscore(
                        _key(tag), f"({before[0]}", "-inf", start=0, num=limit + 1, withscores=True
                    )
            rows: list[Any] = pipe.execute()
        pairs = sorted(((int(at), job_id) for row in rows for job_id, at in row), reverse=True)
        return [pair for pair in pairs if before is None or pair < before][: limit + 1]


def _key(tag: str) -> str:
    return keys.of_partition("dead_letters", tag)


def _attempt(text: str) -> AttemptRecord:
    fields = orjson.loads(text)
    return AttemptRecord(
        attempt=int(fields["attempt"]),
        worker=fields["worker"] or None,
        started_at=int(fields["startedAt"]) if fields["startedAt"] else None,
        ended_at=int(fields["endedAt"]),
        error_code=fields["errorCode"] or None,
        error=fields["error"] or None,
    )
