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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

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

    slots: int = 0
    #: (logarithm of the number of files, seconds)
    runs: Sequence[tuple[float, float]] = ()
    #: Results of ``typical`` by number of files: sorting takes as long as the rest of a request.
    _typical: dict[int, float] = field(default_factory=dict, repr=False)

    @property
    def seconds_per_start(self) -> float | None:
        """The seconds between two starts while all slots are in use; None if unknown."""
        if not self.slots or not self.runs:
            return None
        return statistics.fmean(seconds for _, seconds in self.runs) / self.slots

    def typical(self, files: int) -> float:
        """Return the seconds that a job with so many files takes; only if there are ``runs``."""
        found = self._typical.get(files)
        if found is None:
            size = math.log(max(1, files))
            nearest = sorted(self.runs, key=lambda run: abs(run[0] - size))[:SIMILAR_JOBS]
            found = self._typical[files] = statistics.median(seconds for _, seconds in nearest)
        return found


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


@dataclass(kw_only=True, slots=True)
class _PriorityQueue:
    """The queue of a priority as it was read, and what this process added since."""

    started: int
    waiting: int
    with_wake_up: int
    #: Waiting jobs of higher priorities.
    ahead: int
    #: Slots that are free.
    free: int
    #: Seconds between two starts from this queue or a higher one; None if unknown.
    interval: float | None


class Forecaster:
    """Estimates positions in the queue and remaining seconds."""

    def __init__(self, client: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        #: Runs a reading that is due. Where requests and live updates must not wait for it, it
        #: runs in the background, and forecasts use the reading before.
        self.run_reading: Callable[[Callable[[], None]], object] = lambda read: read()
        #: By priority; empty: unknown.
        self._queues: dict[str, _PriorityQueue] = {}
        self._runs = RecentRuns()
        self._arrivals = _Arrivals()
        self._counts_read_at = -math.inf
        self._counts_due = self._runs_due = -math.inf

    @property
    def reading(self) -> float:
        """When the queue's counts were read: forecasts change only with it."""
        self._refresh()
        return self._counts_read_at

    def waiting(self) -> int:
        """Read the counts and return the number of queued jobs that could run now.

        Raises ``RedisError`` when the job store is unavailable.
        """
        return sum(self._read_counts(self._clock()).waiting.values())

    def place(self, priority: str) -> QueuePlace | None:
        """Return where a new job enters the queue; None if unknown."""
        queue = self._queues.get(priority)
        if queue is None:
            return None
        return QueuePlace(
            turn=queue.started + queue.with_wake_up + 1, round=max(1, queue.with_wake_up)
        )

    def count_accepted(self, job: Job, place: QueuePlace | None) -> None:
        """Count one more job that waits at ``place``."""
        if place is None or not self._queues:
            return
        self._queues[job.priority].waiting += 1
        self._queues[job.priority].with_wake_up += job.turn == place.turn
        for lower in PRIORITIES[PRIORITIES.index(job.priority) + 1 :]:
            self._queues[lower].ahead += 1

    def forecast(self, job: Job) -> Forecast:
        """Return when the job, which waits in the queue, will be started and finished."""
        self._refresh()
        queue = self._queues.get(job.priority)
        if queue is None or job.turn is None:
            return UNKNOWN
        starts = queue.ahead + max(1, job.turn - queue.started)
        # Not more than there are: jobs ahead may have been cancelled.
        position = min(starts, queue.ahead + max(1, queue.waiting))
        if queue.interval is None:
            return Forecast(position, None)
        # Jobs of other users that are created meanwhile may all take their turn first, or none may
        # come. Between the two, the errors in both directions are the same.
        wait = max(0, math.sqrt(starts * position) - queue.free) * queue.interval
        return Forecast(position, wait + self._runs.typical(job.total_files))

    def _refresh(self) -> None:
        """Read again what is due. If that fails, the last reading is used while it is new."""
        now = self._clock()
        if now < self._counts_due:
            return
        # Set before the round trip, so that requests served meanwhile do not repeat it.
        self._counts_due = now + COUNTS_INTERVAL
        self.run_reading(self._read_due)
        if now - self._counts_read_at > MAX_AGE:
            self._queues = {}

    def _read_due(self) -> None:
        now = self._clock()
        with suppress(RedisError):
            if now >= self._runs_due:
                self._runs_due = now + RUNS_INTERVAL
                self._runs = read_runs(self._client)
            self._read_counts(now)

    def _read_counts(self, now: float) -> QueueCounts:
        self._counts_due = now + COUNTS_INTERVAL
        counts = read_counts(self._client)
        self._counts_read_at = now
        self._arrivals.add(now, counts)
        interval = None if counts.paused else self._runs.seconds_per_start
        ahead = 0
        for number, name in enumerate(PRIORITIES):
            # Jobs of a higher priority that are created meanwhile go first.
            load = self._arrivals.per_second(PRIORITIES[:number]) * (interval or 0)
            self._queues[name] = _PriorityQueue(
                started=counts.started[name],
                waiting=counts.waiting[name],
                with_wake_up=counts.with_wake_up[name],
                ahead=ahead,
                free=max(0, self._runs.slots - counts.processing),
                interval=interval and interval / max(MIN_SHARE, 1 - load),
            )
            ahead += counts.waiting[name]
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
    )
