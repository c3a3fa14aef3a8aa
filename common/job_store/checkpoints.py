"""Where attempts at an archive note how far they are, beyond the life of a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

import structlog
from redis.exceptions import RedisError

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis

#: Records are kept so long after the first one, seconds.
TTL: Final = 2 * 86_400

log = structlog.get_logger(__name__)


class Checkpoints:
    """The records of every job, and which jobs have some."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def for_job(self, job_id: str) -> JobCheckpoint:
        return JobCheckpoint(self._client, job_id)

    def for_attempt(self, job_id: str) -> AttemptCheckpoint:
        return AttemptCheckpoint(self._client, job_id)

    def job_ids(self) -> Iterator[str]:
        """The ids of jobs that have records: they run, wait, or ended without tidying up."""
        for tag in keys.all_tags():
            found = self._client.zrange(keys.of_partition("upload_logs", tag), 0, -1)
            yield from cast("list[str]", found)


class JobCheckpoint:
    """One job's records. Thread safe."""

    def __init__(self, client: Redis, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._key = keys.upload_log(job_id)
        self._unfinished = keys.of_partition("upload_logs", keys.tag_of_job(job_id))
        self._listed = False

    def load(self) -> list[bytes]:
        """All records in their order; raises RedisError."""
        found = cast("list[str]", self._client.lrange(self._key, 0, -1))
        return [record.encode() for record in found]

    def append(self, record: bytes) -> None:
        """Keep one more. Losing one costs work, not correctness, so trouble is only logged."""
        try:
            if self._listed:
                self._client.rpush(self._key, record)
                return
            with self._client.pipeline(transaction=False) as pipe:
                pipe.zadd(self._unfinished, {self._job_id: int(time.time() * 1000)})
                pipe.rpush(self._key, record)
                pipe.expire(self._key, TTL)
                pipe.execute()
            self._listed = True
        except RedisError as error:
            log.warning("a checkpoint was not kept", error=str(error))

    def clear(self) -> None:
        """Forget all records; raises RedisError."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.delete(self._key)
            pipe.zrem(self._unfinished, self._job_id)
            pipe.execute()
        self._listed = False


class AttemptCheckpoint(JobCheckpoint):
    """That of a job at work, which goes on without its records while the store is away."""

    def load(self) -> list[bytes]:
        """All records in their order; none while the store is away."""
        try:
            return super().load()
        except RedisError as error:
            log.warning("a job begins without its records", error=str(error))
            return []

    def clear(self) -> None:
        """Forget all records; while the store is away they stay for ``unfinished`` to tell."""
        try:
            super().clear()
        except RedisError as error:
            log.warning("a job's records stay behind", error=str(error))
