"""Counters of archives over all workers, by how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import structlog
from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.errors import log_failure

if TYPE_CHECKING:
    from redis import Redis

log = structlog.get_logger(__name__)


class ArchiveTotals:
    """Counters of archives by how they were made, and of bytes by how they got into them."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def add(self, counts: Mapping[str, int]) -> None:
        """Increase the counters. Errors are only logged: statistics must not fail a job."""
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for name, count in counts.items():
                    if count:
                        pipe.hincrby(keys.ARCHIVE_TOTALS, name, count)
                pipe.execute()
        except RedisError as error:
            log_failure(log, "archive not counted", error)

    def read(self) -> dict[str, int]:
        """Return the counters by name. Raises ``RedisError``."""
        counts = cast("dict[str, str]", self._client.hgetall(keys.ARCHIVE_TOTALS))
        return {name: int(count) for name, count in counts.items()}
