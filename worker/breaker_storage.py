"""Where a circuit breaker's state lies: in the job store, for all workers, and by its clock.

The library's own storage notes when a circuit was opened by the clock of the worker that did it.
Where another worker's clock is minutes behind, the circuit would stay open for so many minutes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from pybreaker import STATE_CLOSED, CircuitRedisStorage
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis import Redis

log = structlog.get_logger(__name__)


class BreakerStorage(CircuitRedisStorage):
    """The library's storage, but for the time."""

    def __init__(self, client: Redis, *, namespace: str, reset: float) -> None:
        """``client`` gives bytes. An open circuit may be tried after ``reset`` seconds.

        Raises ``redis.exceptions.RedisError`` when the store is away.
        """
        self._client = client
        self._reset = reset
        self._resting = f"{namespace}:resting"
        super().__init__(STATE_CLOSED, client, namespace=namespace)

    def left(self) -> float:
        """Seconds until the circuit may be tried; 0 where it may be now, or nobody knows."""
        try:
            return max(0, self._client.pttl(self._resting)) / 1000
        except RedisError as error:
            log.warning("a circuit's rest is not known", error=str(error))
            return 0.0

    @property
    def opened_at(self) -> datetime | None:
        """When the circuit was opened, as a clock would have shown it that goes like this one."""
        left = self.left()
        return datetime.now(UTC) - timedelta(seconds=self._reset - left) if left else None

    @opened_at.setter
    def opened_at(self, _now: datetime) -> None:
        try:
            self._client.set(self._resting, 1, px=round(self._reset * 1000))
        except RedisError as error:
            log.warning("a circuit's rest is not noted", error=str(error))
