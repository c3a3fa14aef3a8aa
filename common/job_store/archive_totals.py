"""How archives came to be, counted over all workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import structlog
from redis.exceptions import RedisError

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis

log = structlog.get_logger(__name__)


class ArchiveTotals:
    """Counters that only grow: archives by how they were made, bytes by the way they took."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def add(self, counts: Mapping[str, int]) -> None:
        """Figures must not fail a job: trouble is only logged."""
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for name, count in counts.items():
                    if count:
                        pipe.hincrby(keys.ARCHIVE_TOTALS, name, count)
                pipe.execute()
        except RedisError as error:
            log.warning("an archive was not counted", error=str(error))

    def read(self) -> dict[str, int]:
        """Name to count; raises RedisError."""
        found = cast("dict[str, str]", self._client.hgetall(keys.ARCHIVE_TOTALS))
        return {name: int(count) for name, count in found.items()}
