"""Checkpoints of archives being built: records that outlive the worker that wrote them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

import structlog
from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.errors import log_failure

if TYPE_CHECKING:
    from redis import Redis

#: Seconds that records are kept after the first one.
TTL: Final = 2 * 86_400

log = structlog.get_logger(__name__)


class Checkpoints:
    """The checkpoints of all jobs."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def for_job(self, job_id: str) -> JobCheckpoint:
        """Return the records for a cleanup, whose calls fail while the store is unavailable."""
        return JobCheckpoint(self._client, job_id)

    def for_attempt(self, job_id: str) -> AttemptCheckpoint:
        """Return the records for an attempt, which goes on without them during an outage."""
        return AttemptCheckpoint(self._client, job_id)

    def job_ids(self) -> Iterator[str]:
        """Yield the ids of jobs with records: they run, wait, or ended without cleaning up."""
        for tag in keys.all_tags():
            ids = self._client.zrange(keys.of_partition("upload_logs", tag), 0, -1)
            yield from cast("list[str]", ids)


class JobCheckpoint:
    """The records of one job. Thread-safe."""

    def __init__(self, client: Redis, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._key = keys.upload_log(job_id)
        self._index = keys.of_partition("upload_logs", keys.tag_of_job(job_id))
        self._indexed = False

    def load(self) -> list[bytes]:
        """Return all records in order. Raises ``RedisError``."""
        records = cast("list[str]", self._client.lrange(self._key, 0, -1))
        return [record.encode() for record in records]

    def append(self, record: bytes) -> None:
        """Store another record. Errors are only logged, as a lost record only costs work."""
        try:
            if self._indexed:
                # Another worker may have ended the job since and deleted its records: a new list
                # would be neither indexed nor expire.
                self._client.rpushx(self._key, record.decode())
                return
            with self._client.pipeline(transaction=False) as pipe:
                pipe.zadd(self._index, {self._job_id: int(time.time() * 1000)})
                pipe.rpush(self._key, record)
                pipe.expire(self._key, TTL)
                pipe.execute()
            self._indexed = True
        except RedisError as error:
            log_failure(log, "checkpoint not stored", error)

    def clear(self) -> None:
        """Delete all records. Raises ``RedisError``."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.delete(self._key)
            pipe.zrem(self._index, self._job_id)
            pipe.execute()
        self._indexed = False


class AttemptCheckpoint(JobCheckpoint):
    """The records of a running job, which continues without them if the store is unavailable."""

    def load(self) -> list[bytes]:
        """Return all records in order, or none while the store is unavailable."""
        try:
            return super().load()
        except RedisError as error:
            log_failure(log, "job starts without its checkpoint", error)
            return []

    def clear(self) -> None:
        """Delete all records, or leave them for a cleanup while the store is unavailable."""
        try:
            super().clear()
        except RedisError as error:
            log_failure(log, "checkpoint not deleted", error)
