"""The queue as a whole: sums over all partitions, each read in one pipelined round trip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.job_store import keys
from common.job_store.worker_registry import WorkerRegistry
from common.jobs.model import PRIORITIES

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline



@dataclass(frozen=True, kw_only=True)
class QueueState:
    """How many jobs are where, and how those that ended fared."""

    #: Priority -> queued jobs that could run now.
    waiting: dict[str, int]
    #: Priority -> seconds that the first of them has waited; None when none waits.
    oldest: dict[str, float | None]
    processing: int
    #: Queued, but not before their backoff is over.
    retrying: int
    completed: int
    failed: int
    cancelled: int
    dead_letters: int
    #: No job is begun until an operator resumes the queue.
    paused: bool
    #: Worker processes that lately showed a sign of life, how many jobs they may run at once and
    #: how many they do run.
    workers: int
    slots: int
    busy: int
    #: Milliseconds from creation to completion, ascending: the newest jobs of each partition.
    durations: Sequence[int]

    @property
    def oldest_wait(self) -> float | None:
        """Seconds that the first of all waiting jobs has waited; None when none waits."""
        return max((wait for wait in self.oldest.values() if wait is not None), default=None)

    def duration(self, percent: int) -> int | None:
        """The nearest-rank percentile of the durations, milliseconds; None when there are none."""
        if not self.durations:
            return None
        return self.durations[math.ceil(len(self.durations) * percent / 100) - 1]

    @property
    def success_rate(self) -> float | None:
        """completed / (completed + failed), 0 to 1; None while no job has ended."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None


class QueueStatistics:
    """Reads the figures. Raises ``redis.exceptions.RedisError`` when the store is away."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def waiting(self) -> int:
        """Queued jobs that could run now, in all priorities."""
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                for priority in PRIORITIES:
                    pipe.zcard(keys.of_partition("waiting", tag, priority))
            return sum(pipe.execute())

    def read(self) -> QueueState:
        """Everything, from one pipeline besides the one for the workers."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            for tag in keys.all_tags():
                _ask(pipe, tag)
            (seconds, micros), *answers = pipe.execute()
        size = len(answers) // keys.PARTITIONS
        rows = [answers[start : start + size] for start in range(0, len(answers), size)]
        # From here on each column is one question, answered by every partition.
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


def _ask(pipe: Pipeline, tag: str) -> None:
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
    """``firsts``: of each partition the (job, since when in ms) that came first, or nothing."""
    since = min((found[0][1] for found in firsts if found), default=None)
    return None if since is None else max(0, now - int(since)) / 1000


def _total(totals: Sequence[dict[str, Any]], state: str) -> int:
    return sum(int(row.get(state, 0)) for row in totals)
