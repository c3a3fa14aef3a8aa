"""Statistics of the whole queue, summed over all partitions in one pipelined round trip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.job_store import keys
from common.job_store.worker_registry import WorkerRegistry
from common.jobs.model import PRIORITIES, success_rate

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """How many jobs wait, run and have ended."""

    #: Priority -> queued jobs that could run now.
    waiting: dict[str, int]
    #: Priority -> seconds that the oldest of them has waited; None when none waits.
    oldest: dict[str, float | None]
    processing: int
    #: Attempts that were started since the job store was created.
    started: int
    #: Queued until their backoff is over.
    retrying: int
    completed: int
    failed: int
    cancelled: int
    dead_letters: int
    #: No job starts until an operator resumes the queue.
    paused: bool
    #: Registered worker processes, the jobs that they can run at the same time, and that they run.
    workers: int
    slots: int
    busy: int
    #: Milliseconds from creation to completion, ascending: the newest jobs of each partition.
    durations: Sequence[int]

    @property
    def oldest_wait(self) -> float | None:
        """Seconds that the oldest waiting job has waited; None when none waits."""
        return max((wait for wait in self.oldest.values() if wait is not None), default=None)

    def duration(self, percent: int) -> int | None:
        """Return the nearest-rank percentile of the durations in ms; None when there are none."""
        if not self.durations:
            return None
        return self.durations[math.ceil(len(self.durations) * percent / 100) - 1]

    @property
    def average_duration(self) -> int | None:
        """The average of the durations in ms; None when there are none."""
        if not self.durations:
            return None
        return round(sum(self.durations) / len(self.durations))

    @property
    def success_rate(self) -> float | None:
        """completed / (completed + failed), 0 to 1; None while no job has ended."""
        return success_rate(self.completed, self.failed)


class QueueStatistics:
    """Reads the statistics. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def read(self) -> QueueState:
        """Return all statistics, from one pipeline besides the one for the workers."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            for tag in keys.all_tags():
                _queue_commands(pipe, tag)
            (seconds, micros), *results = pipe.execute()
        size = len(results) // keys.PARTITIONS
        rows = [results[start : start + size] for start in range(0, len(results), size)]
        # Transposed: the results of one command for every partition.
        *priorities, processing, retrying, dead, paused, totals, durations = zip(*rows, strict=True)
        counts, oldest = priorities[: len(PRIORITIES)], priorities[len(PRIORITIES) :]
        now = seconds * 1000 + micros // 1000
        workers = WorkerRegistry(self._client).registered()
        return QueueState(
            waiting=dict(zip(PRIORITIES, map(sum, counts), strict=True)),
            oldest=dict(
                zip(PRIORITIES, (_longest_wait(column, now) for column in oldest), strict=True)
            ),
            processing=sum(processing),
            started=sum(_total(totals, f"started_{priority}") for priority in PRIORITIES),
            retrying=sum(retrying),
            completed=_total(totals, "completed"),
            failed=_total(totals, "failed"),
            cancelled=_total(totals, "cancelled"),
            dead_letters=sum(dead),
            paused=any(paused),
            workers=len(workers),
            slots=sum(worker.slots for worker in workers),
            busy=sum(len(worker.running) for worker in workers),
            durations=sorted(int(text) for row in durations for text in row),
        )


def _queue_commands(pipe: Pipeline, tag: str) -> None:
    waiting = [keys.of_partition("waiting", tag, priority) for priority in PRIORITIES]
    for key in waiting:
        pipe.zcard(key)
    for key in waiting:
        pipe.zrange(key, 0, 0, withscores=True)
    for name in ("leases", "retries", "dead_letters"):
        pipe.zcard(keys.of_partition(name, tag))
    pipe.exists(keys.of_partition("paused", tag))
    pipe.hgetall(keys.of_partition("totals", tag))
    pipe.lrange(keys.of_partition("durations", tag), 0, -1)


def _longest_wait(firsts: Sequence[Any], now: int) -> float | None:
    """Return the longest wait in seconds.

    ``firsts``: of each partition a list with the oldest (job, since when in ms), or an empty one.
    """
    since = min((found[0][1] for found in firsts if found), default=None)
    return None if since is None else max(0, now - int(since)) / 1000


def _total(totals: Sequence[dict[str, Any]], state: str) -> int:
    return sum(int(row.get(state, 0)) for row in totals)
