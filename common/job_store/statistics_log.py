"""The queue's statistics of the last hours, one sample per minute, written by the workers.

Counters instead of rates, so that a missing minute changes nothing but the resolution.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from common.job_store import keys
from common.job_store.cluster import node_of
from common.job_store.expiry import limit_expiry
from common.job_store.queue_statistics import QueueState, QueueStatistics
from common.jobs.model import known_members

if TYPE_CHECKING:
    from redis import Redis

#: Seconds between two samples.
INTERVAL: Final = 60
#: Samples that are kept: a day, about 300 bytes each.
MAX_SAMPLES: Final = 1_440


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The statistics at one moment; the counters count since the job store was created."""

    #: Milliseconds since 1970.
    at: int
    waiting: int = 0
    processing: int = 0
    retrying: int = 0
    workers: int = 0
    paused: bool = False
    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    #: Percentiles of the latest durations in milliseconds.
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None


def sample_of(state: QueueState, at: int) -> Sample:
    """Return the sample of the queue's state at a time in milliseconds."""
    return Sample(
        at=at,
        waiting=sum(state.waiting.values()),
        processing=state.processing,
        retrying=state.retrying,
        workers=state.workers,
        paused=state.paused,
        started=state.started,
        completed=state.completed,
        failed=state.failed,
        cancelled=state.cancelled,
        p50=state.duration(50),
        p95=state.duration(95),
        p99=state.duration(99),
    )


class StatisticsLog:
    """The samples. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._next_try = -math.inf

    def record_if_due(self) -> bool:
        """Store a sample unless another process has stored one within the interval."""
        if self._clock() < self._next_try:
            return False
        self._next_try = self._clock() + INTERVAL / 6
        if not self._client.set(keys.STATISTICS_LOCK, "1", nx=True, px=INTERVAL * 1000 - 500):
            limit_expiry(self._client, keys.STATISTICS_LOCK, INTERVAL)
            return False
        seconds, micros = node_of(self._client, keys.STATISTICS_LOG).time()
        sample = sample_of(QueueStatistics(self._client).read(), seconds * 1000 + micros // 1000)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.rpush(keys.STATISTICS_LOG, orjson.dumps(sample))
            pipe.ltrim(keys.STATISTICS_LOG, -MAX_SAMPLES, -1)
            pipe.expire(keys.STATISTICS_LOG, MAX_SAMPLES * INTERVAL)
            pipe.execute()
        return True

    def newest(self, count: int) -> list[Sample]:
        """Return up to ``count`` samples, oldest first."""
        texts: Any = self._client.lrange(keys.STATISTICS_LOG, -count, -1)
        return [Sample(**known_members(Sample, orjson.loads(text))) for text in texts]
