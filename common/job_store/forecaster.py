"""Estimates when queued jobs will be started and finished.

An estimate reads nothing: every process reads the counts of the queue once a second, and how long
recent jobs took every five seconds. A job's hash says only when its turn is (``QueuePlace``), in
numbers of jobs started from its priority's queue.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.worker_registry import WorkerRegistry
from common.jobs.model import PRIORITIES, Job, QueuePlace
from common.jobs.presenter import UNKNOWN, Forecast

if TYPE_CHECKING:
    from redis import Redis

#: Seconds between two readings of the queue's counts, and of the workers and recent jobs.
COUNTS_INTERVAL: Final = 1.0
RUNS_INTERVAL: Final = 5.0
#: Seconds after which a reading says nothing any more: the job store is unavailable.
MAX_AGE: Final = 15.0
#: Seconds between two of the readings that show the rate of new jobs, and how many of them count.
ARRIVALS_INTERVAL: Final = 15.0
ARRIVALS_KEPT: Final = 21
#: Share of the workers that a job gets at least, however many jobs of a higher priority there are.
MIN_SHARE: Final = 0.1
#: The duration of a job is the median of so many recent ones with the most similar number of files.
SIMILAR_JOBS: Final = 15


@dataclass(frozen=True, kw_only=True)
class QueueCounts:
    """The queue, by priority."""

    waiting: dict[str, int]
    #: Jobs that are next of their user.
    with_wake_up: dict[str, int]
    #: Attempts that were started since the job store was created.
    started: dict[str, int]
    processing: int
    paused: bool


@dataclass(frozen=True, kw_only=True)
class RecentRuns:
    """The workers, and how long they took for recent jobs."""

    slots: int
    #: (logarithm of the number of files, seconds)
    runs: Sequence[tuple[float, float]]
    #: Seconds; None if no job has been completed recently.
    mean: float | None

    def typical(self, files: int) -> float | None:
        """Return the seconds that a job with so many files takes; None if unknown."""
        size = math.log(max(1, files))
        nearest = sorted(self.runs, key=lambda run: abs(run[0] - size))[:SIMILAR_JOBS]
        return statistics.median(seconds for _, seconds in nearest) if nearest else None


class _Arrivals:
    """How many jobs were created recently, by priority."""

    def __init__(self) -> None:
        #: (when, jobs that were created before, by priority), at most one for each interval.
        self._totals: deque[tuple[float, dict[str, int]]] = deque(maxlen=ARRIVALS_KEPT)

    def add(self, now: float, counts: QueueCounts) -> None:
        """Take a reading of the queue."""
        if not self._totals or now - self._totals[-1][0] >= ARRIVALS_INTERVAL:
            totals = {name: counts.started[name] + counts.waiting[name] for name in PRIORITIES}
            self._totals.append((now, totals))

    def per_second(self, priorities: Sequence[str]) -> float:
        """Return the rate at which jobs of these priorities were created."""
        (began, first), (ended, last) = self._totals[0], self._totals[-1]
        if began == ended:
            return 0.0
        return max(0, sum(last[name] - first[name] for name in priorities)) / (ended - began)


@dataclass(kw_only=True)
class _Accepted:
    """Jobs that this process created since the counts were read."""

    waiting: int = 0
    with_wake_up: int = 0


T = TypeVar("T")


@dataclass
class _Reading(Generic[T]):
    """Something that is read again when it is older than ``interval``."""

    read: Callable[[], T]
    interval: float
    value: T | None = None
    read_at: float = -math.inf
    _tried_at: float = field(default=-math.inf, repr=False)

    def is_due(self, now: float) -> bool:
        """Return whether to read now."""
        return now - self._tried_at >= self.interval

    def refresh(self, now: float) -> T:
        # Set before the round trip, so that requests served in the meantime do not repeat it.
        self._tried_at = now
        self.value = value = self.read()
        self.read_at = now
        return value

    def current(self, now: float) -> T | None:
        return self.value if now - self.read_at <= MAX_AGE else None


class Forecaster:
    """Estimates positions in the queue and remaining seconds."""

    def __init__(self, client: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._counts = _Reading(lambda: read_counts(client), COUNTS_INTERVAL)
        self._runs = _Reading(lambda: read_runs(client), RUNS_INTERVAL)
        self._arrivals = _Arrivals()
        self._accepted = {priority: _Accepted() for priority in PRIORITIES}

    @property
    def reading(self) -> float:
        """When the queue's counts were read: forecasts change only with it."""
        self._refresh()
        return self._counts.read_at

    def waiting(self) -> int:
        """Read the counts and return the number of queued jobs that could run now.

        Raises ``RedisError`` when the job store is unavailable.
        """
        now = self._clock()
        return sum(self._read_counts(now).waiting.values())

    def place(self, priority: str) -> QueuePlace | None:
        """Return where a new job enters the queue; None if unknown."""
        counts = self._counts.current(self._clock())
        if counts is None:
            return None
        accepted, started = self._accepted[priority], counts.started[priority]
        users = counts.with_wake_up[priority] + accepted.with_wake_up
        return QueuePlace(
            turn=started + users + 1,
            round=max(1, users),
        )

    def count_accepted(self, job: Job, place: QueuePlace | None) -> None:
        """Count one more job that waits at ``place``."""
        accepted = self._accepted[job.priority]
        accepted.waiting += 1
        accepted.with_wake_up += place is not None and job.turn == place.turn

    def forecast(self, job: Job) -> Forecast:
        """Return when the job, which waits in the queue, will be started and finished."""
        self._refresh()
        now = self._clock()
        counts, runs = self._counts.current(now), self._runs.current(now)
        if counts is None or job.turn is None:
            return UNKNOWN
        higher = PRIORITIES[: PRIORITIES.index(job.priority)]
        before = sum(counts.waiting[name] + self._accepted[name].waiting for name in higher)
        starts = before + max(1, job.turn - counts.started[job.priority])
        waiting = before + counts.waiting[job.priority] + self._accepted[job.priority].waiting
        position = min(starts, max(before + 1, waiting))
        if runs is None or counts.paused or not runs.slots:
            return Forecast(position, None)
        run = runs.typical(job.total_files)
        if run is None or runs.mean is None:
            return Forecast(position, None)
        # Jobs of other users that are created meanwhile may all take their turn first, or none may
        # come. Between the two, the errors in both directions are the same.
        starts_expected = math.sqrt(starts * position)
        free = max(0, runs.slots - counts.processing)
        # Jobs of a higher priority that are created meanwhile go first.
        load = self._arrivals.per_second(higher) * runs.mean / runs.slots
        wait = max(0, starts_expected - free) * runs.mean / runs.slots / max(MIN_SHARE, 1 - load)
        return Forecast(position, wait + run)

    def _refresh(self) -> None:
        """Read again what is due. If that fails, the last readings are used while they are new."""
        now = self._clock()
        with suppress(RedisError):
            if self._counts.is_due(now):
                self._read_counts(now)
            if self._runs.is_due(now):
                self._runs.refresh(now)

    def _read_counts(self, now: float) -> QueueCounts:
        before = {name: replace(accepted) for name, accepted in self._accepted.items()}
        counts = self._counts.refresh(now)
        self._arrivals.add(now, counts)
        for name, accepted in self._accepted.items():
            accepted.waiting = max(0, accepted.waiting - before[name].waiting)
            accepted.with_wake_up = max(0, accepted.with_wake_up - before[name].with_wake_up)
        return counts


def read_counts(client: Redis) -> QueueCounts:
    """Read the queue's counts in one round trip. Raises ``RedisError``."""
    with client.pipeline(transaction=False) as pipe:
        for tag in keys.all_tags():
            for name in ("waiting", "wake_ups_sent"):
                for priority in PRIORITIES:
                    pipe.zcard(keys.of_partition(name, tag, priority))
            started = [f"started_{priority}" for priority in PRIORITIES]
            pipe.hmget(keys.of_partition("totals", tag), started)
            pipe.zcard(keys.of_partition("leases", tag))
            pipe.exists(keys.of_partition("paused", tag))
        results: list[Any] = pipe.execute()
    size = len(results) // keys.PARTITIONS
    # Transposed: the results of one command for every partition.
    columns = [results[start::size] for start in range(size)]
    count = len(PRIORITIES)
    *cards, started_counts, processing, paused = columns
    return QueueCounts(
        waiting=dict(zip(PRIORITIES, map(sum, cards[:count]), strict=True)),
        with_wake_up=dict(zip(PRIORITIES, map(sum, cards[count:]), strict=True)),
        started={
            priority: sum(int(row[number] or 0) for row in started_counts)
            for number, priority in enumerate(PRIORITIES)
        },
        processing=sum(processing),
        paused=any(paused),
    )


def read_runs(client: Redis) -> RecentRuns:
    """Read the workers and the durations of recent jobs. Raises ``RedisError``."""
    with client.pipeline(transaction=False) as pipe:
        for tag in keys.all_tags():
            pipe.lrange(keys.of_partition("runs", tag), 0, -1)
        texts = [text for row in pipe.execute() for text in row]
    runs = []
    for text in texts:
        files, milliseconds = map(int, text.split())
        runs.append((math.log(max(1, files)), milliseconds / 1000))
    return RecentRuns(
        slots=sum(worker.slots for worker in WorkerRegistry(client).registered()),
        runs=runs,
        mean=statistics.fmean(seconds for _, seconds in runs) if runs else None,
    )
