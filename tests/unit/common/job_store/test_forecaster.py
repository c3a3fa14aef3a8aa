"""Positions and remaining seconds of queued jobs, in a simulation of two API processes."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import orjson
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store import keys
from common.job_store.forecaster import MAX_AGE, Forecaster, read_counts
from common.job_store.jobs import CreationTerms, JobStore, Limits
from common.job_store.pause import Pause
from common.job_store.queries import JobQueries
from common.job_store.worker_registry import WorkerState
from common.jobs.model import (
    PRIORITIES,
    Artifact,
    Job,
    JobSpec,
    Lease,
    Priority,
    Progress,
    QueuePlace,
    WakeUp,
)
from common.jobs.presenter import UNKNOWN

ARTIFACT = Artifact(bucket="b", key="k", name="n", size=1, content_type="application/zip")


class Clock:
    """The clock of the job store and of all processes, in seconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


def register_worker(redis: Redis, slots: int) -> None:
    state = WorkerState(name="w", server="s", connection=1, slots=slots)
    redis.set(keys.worker("w"), orjson.dumps(state))
    redis.sadd(keys.WORKERS, "w")


class Api:
    """An API process: it creates jobs and estimates when they will be finished."""

    def __init__(self, redis: Redis, jobs: JobStore, clock: Clock) -> None:
        self.forecaster = Forecaster(redis, clock=clock)
        self._jobs = jobs

    def create(self, user: str, files: range, priority: Priority = Priority.NORMAL) -> Job:
        _ = self.forecaster.reading
        place = self.forecaster.place(priority)
        spec = JobSpec(file_ids=tuple(files), priority=priority)
        job = self._jobs.create(user, spec, place=place).job
        self.forecaster.count_accepted(job, place)
        return job


@pytest.fixture
def limits() -> Limits:
    return Limits(max_active=1000)


@pytest.fixture
def api(redis: Redis, jobs: JobStore, clock: Clock) -> Api:
    return Api(redis, jobs, clock)


def run(jobs: JobStore, job: Job, clock: Clock, seconds: float) -> None:
    claim = jobs.claim(job.id, "w")
    assert claim
    clock.now += seconds
    jobs.complete(claim.lease, ARTIFACT, Progress())


def position(api: Api, job: Job) -> int | None:
    return api.forecaster.forecast(job).position


def test_positions_are_ranks_and_fall_as_jobs_are_started(
    api: Api, jobs: JobStore, clock: Clock
) -> None:
    created = [api.create(f"user {number}", range(1)) for number in range(4)]
    assert [position(api, job) for job in created] == [1, 2, 3, 4]
    clock.now += 1
    run(jobs, created[0], clock, 1)
    assert [position(api, job) for job in created[1:]] == [1, 2, 3]


def test_users_take_turns(api: Api, clock: Clock) -> None:
    for number in range(3):
        api.create("alice", range(number, number + 1))
    clock.now += 1
    bobs = api.create("bob", range(1))
    assert position(api, bobs) == 2
    clock.now += 1
    alices = api.create("alice", range(9, 10))
    # Behind her own three jobs and bob's.
    assert position(api, alices) == 5


@pytest.mark.parametrize(("weight", "turns"), [(1, [10, 12, 16, 20]), (2, [10, 10, 12, 12])])
def test_each_of_a_users_jobs_has_its_turn_a_round_later(
    jobs: JobStore, weight: int, turns: list[int]
) -> None:
    place = QueuePlace(turn=10, round=4)
    terms = CreationTerms(plan="any", max_active=100, weight=weight)
    specs = [JobSpec(file_ids=(number,)) for number in range(1, 5)]
    created = [jobs.create("ann", spec, place=place, terms=terms).job for spec in specs]
    assert [job.turn for job in created] == turns


def test_jobs_of_a_higher_priority_are_ahead_as_long_as_they_wait(
    api: Api, jobs: JobStore, clock: Clock
) -> None:
    low = api.create("ann", range(1), Priority.LOW)
    high = [api.create(f"user {number}", range(1), Priority.HIGH) for number in range(3)]
    assert (position(api, low), position(api, high[0])) == (4, 1)
    for job in high:
        run(jobs, job, clock, 1)
    clock.now += 1
    assert position(api, low) == 1


def test_cancelled_jobs_are_not_ahead(api: Api, jobs: JobStore, clock: Clock) -> None:
    created = [api.create(f"user {number}", range(1)) for number in range(5)]
    for job in created[:4]:
        jobs.cancel(job.id)
    clock.now += 1
    assert position(api, created[4]) == 1


def test_a_restarted_or_retried_job_has_no_position(
    api: Api, jobs: JobStore, queries: JobQueries, clock: Clock
) -> None:
    job = api.create("ann", range(1))
    claim = jobs.claim(job.id, "w")
    assert claim
    jobs.return_to_queue(claim.lease)
    assert not queries.get(job.id).in_line
    claim = jobs.claim(job.id, "w")
    assert claim
    jobs.complete(claim.lease, replace(ARTIFACT, missing_files=1), Progress())
    assert not jobs.restart(job.id).in_line
    assert api.forecaster.forecast(queries.get(job.id)) == UNKNOWN


def test_seconds_remaining_follow_the_number_of_files(
    api: Api, redis: Redis, jobs: JobStore, clock: Clock
) -> None:
    register_worker(redis, slots=2)
    for number in range(20):
        run(jobs, api.create(f"user {number}", range(1)), clock, 2)
        run(jobs, api.create(f"user {number}", range(100)), clock, 30)
    clock.now += 10
    small, large = api.create("ann", range(1)), api.create("bob", range(90))
    # Both slots are free.
    assert api.forecaster.forecast(small).seconds_remaining == pytest.approx(2)
    assert api.forecaster.forecast(large).seconds_remaining == pytest.approx(30)


def test_seconds_remaining_are_unknown_without_workers_recent_jobs_or_while_paused(
    api: Api, redis: Redis, jobs: JobStore, clock: Clock
) -> None:
    job = api.create("ann", range(1))
    assert api.forecaster.forecast(job) == (1, None)
    register_worker(redis, slots=1)
    run(jobs, api.create("bob", range(1)), clock, 2)
    clock.now += 10
    assert api.forecaster.forecast(job).seconds_remaining is not None
    Pause(redis).pause()
    clock.now += 1
    assert api.forecaster.forecast(job) == (1, None)


def test_everything_is_unknown_some_seconds_after_the_job_store_became_unavailable(
    api: Api, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = api.create("ann", range(1))

    def fail(_: Redis) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr("common.job_store.forecaster.read_counts", fail)
    clock.now += MAX_AGE
    assert position(api, job) == 1
    clock.now += 1
    assert api.forecaster.forecast(job) == UNKNOWN
    assert api.forecaster.place("normal") is None
    with pytest.raises(RedisConnectionError):
        api.forecaster.waiting()


def test_counts_are_read_once_a_second(
    api: Api, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = api.create("ann", range(1))
    reads: list[float] = []

    def read(client: Redis) -> object:
        reads.append(clock.now)
        return read_counts(client)

    monkeypatch.setattr("common.job_store.forecaster.read_counts", read)
    for _ in range(30):
        clock.now += 0.1
        api.forecaster.forecast(job)
    assert len(reads) in (2, 3)


class Queues:
    """The broker: first in, first out, by priority."""

    def __init__(self) -> None:
        self.template = None
        self.waiting: dict[str, deque[WakeUp]] = {name: deque() for name in PRIORITIES}

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        for wake_up in wake_ups:
            self.waiting[wake_up.priority].append(wake_up)

    def take(self) -> WakeUp | None:
        return next((queue.popleft() for queue in self.waiting.values() if queue), None)


@dataclass
class Measured:
    """What the API estimated when it created a job, and what happened."""

    job: Job
    created: float
    position: int | None
    seconds: float | None
    started_before: int = 0
    finished: float = 0.0


@dataclass
class Simulation:
    """Jobs of many users in bursts, run by workers with ``slots``."""

    redis: Redis
    clock: Clock
    slots: int = 8
    random: random.Random = field(default_factory=lambda: random.Random(19))

    def run(self, count: int) -> list[Measured]:
        queues = Queues()
        jobs = JobStore(self.redis, queues, Limits(max_active=1000, lease=1e6))
        apis = [Api(self.redis, jobs, self.clock) for _ in range(2)]
        register_worker(self.redis, self.slots)
        # (time, number, the lease that ends then; None: a burst of new jobs)
        events: list[tuple[float, int, Lease | None]] = [(self.clock.now, 0, None)]
        numbers = itertools.count(1)
        measured: dict[str, Measured] = {}
        free, started = self.slots, dict.fromkeys(PRIORITIES, 0)
        while events:
            self.clock.now, _, lease = heapq.heappop(events)
            if lease is not None:
                jobs.complete(lease, ARTIFACT, Progress())
                measured[lease.job_id].finished = self.clock.now
                free += 1
            elif len(measured) < count:
                for new in self._burst(apis):
                    new.started_before = self._up_to(started, new.job.priority)
                    measured[new.job.id] = new
                pause = self.random.expovariate(1 / 12.0)
                heapq.heappush(events, (self.clock.now + pause, next(numbers), None))
            while free and (wake_up := queues.take()):
                claim = jobs.claim(wake_up.job_id, "w", wake_up)
                assert claim
                started[claim.job.priority] += 1
                found = measured[wake_up.job_id]
                found.started_before = (
                    self._up_to(started, claim.job.priority) - found.started_before
                )
                free -= 1
                ends = self.clock.now + self._duration(claim.job.total_files)
                heapq.heappush(events, (ends, next(numbers), claim.lease))
        return list(measured.values())

    def _burst(self, apis: list[Api]) -> Iterable[Measured]:
        user = f"user {self.random.randrange(60)}"
        priority = self.random.choices([*Priority], [1, 7, 2])[0]
        for _ in range(self.random.choice([1, 1, 1, 2, 3, 5, 12])):
            api = self.random.choice(apis)
            first = self.random.randrange(10**9)
            files = range(first, first + round(500 ** self.random.random()))
            job = api.create(user, files, priority)
            forecast = api.forecaster.forecast(job)
            yield Measured(job, self.clock.now, forecast.position, forecast.seconds_remaining)

    def _duration(self, files: int) -> float:
        return (1 + 0.25 * files) * self.random.lognormvariate(0, 0.3)

    @staticmethod
    def _up_to(started: dict[str, int], priority: Priority) -> int:
        return sum(started[name] for name in PRIORITIES[: PRIORITIES.index(priority) + 1])


def test_estimates_of_500_mixed_jobs_are_within_a_factor_of_two_for_80_percent(
    redis: Redis, clock: Clock
) -> None:
    measured = Simulation(redis, clock).run(560)[-500:]
    ratios = sorted(
        (found.finished - found.created) / found.seconds
        for found in measured
        if found.seconds is not None
    )
    assert len(ratios) == 500
    waited = sum(found.position is not None and found.position > 8 for found in measured)
    ranks = [
        found.started_before / found.position for found in measured if found.position is not None
    ]
    close = sum(0.5 <= ratio <= 2 for ratio in ratios) / len(ratios)
    close_ranks = sum(0.5 <= rank <= 2 for rank in ranks) / len(ranks)
    print(
        f"within a factor of 2: {close:.0%} of the estimates, {close_ranks:.0%} of the positions; "
        f"{waited} jobs had more than 8 ahead; ratios from {ratios[25]:.2f} to {ratios[-25]:.2f}"
    )
    assert waited >= 50
    assert close >= 0.8
    assert close_ranks >= 0.8
