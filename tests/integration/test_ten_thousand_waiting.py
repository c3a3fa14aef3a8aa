"""Ten thousand jobs wait legitimately: what got lost is found, and the queues are not flooded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import orjson
import pytest
from redis import Redis

from common.celery_app import QUEUE_PREFIX, celery_app
from common.errors import LeaseLost
from common.job_store import keys
from common.job_store import sweeper as sweeper_module
from common.job_store.jobs import Claim, JobStore, Limits
from common.job_store.pause import Pause
from common.job_store.sweeper import Sweeper
from common.jobs.model import PRIORITIES, Artifact, JobSpec, Priority, Progress, WakeUp
from common.wake_ups import Dispatcher
from stack.services import Valkey

JOBS = 10_000
READ = 3_000
#: For what does not depend on the number.
SOME = 2_000
SWEEPERS = 3
ARCHIVE = Artifact(bucket="b", key="k", name="n", size=1, content_type="t")

pytestmark = pytest.mark.timeout(90)


class House:
    """The queue with its sweepers, and workers that do what the test says."""

    def __init__(self, redis: Redis, url: str) -> None:
        self.redis = redis
        self.dispatcher = Dispatcher(celery_app(url), same_server=True)
        self.jobs = JobStore(redis, self.dispatcher, Limits(max_active=JOBS))
        self.sweepers = self.hire(max_wait=300.0)
        self.resent = 0

    def hire(self, *, max_wait: float) -> list[Sweeper]:
        return [
            Sweeper(self.redis, self.dispatcher, Limits(), max_wait=max_wait)
            for _ in range(SWEEPERS)
        ]

    def accept(self, count: int, priority: Priority = Priority.NORMAL) -> None:
        """Jobs of as many users: each has its own wake-up out."""
        for number in range(count):
            spec = JobSpec(file_ids=(1,), priority=priority)
            self.jobs.create(f"{priority}-{number}", spec)

    def sweep(self, times: int = 1) -> None:
        for _ in range(times):
            for sweeper in self.sweepers:
                self.resent += sweeper.sweep(self.dispatcher.waiting).resent

    def read(self) -> WakeUp | None:
        """The next message, as a worker's consumer gets it."""
        for priority in PRIORITIES:
            message = self.redis.rpop(QUEUE_PREFIX + priority)
            if message is not None:
                (job_id, priority, sent), *_ = orjson.loads(orjson.loads(message)["body"])
                return WakeUp(job_id=job_id, priority=priority, sent=int(sent))
        return None

    def run(self, wake_up: WakeUp) -> Claim | None:
        claim = self.jobs.claim(wake_up.job_id, "worker", wake_up)
        if claim is not None:
            with suppress(LeaseLost):
                self.jobs.complete(claim.lease, ARCHIVE, Progress())
        return claim

    def messages(self) -> int:
        return sum(self.redis.llen(QUEUE_PREFIX + priority) for priority in PRIORITIES)

    def waiting(self) -> int:
        return sum(
            self.redis.zcard(keys.of_partition("waiting", tag, priority))
            for tag in keys.all_tags()
            for priority in PRIORITIES
        )


@pytest.fixture
def house(redis: Redis, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    # So that all that waits is older than what counts as lost, in every sweep.
    monkeypatch.setattr(sweeper_module, "LOST_AFTER", 1)
    return House(redis, valkey.url)


def test_lost_messages_are_found_and_less_than_one_in_a_hundred_is_a_duplicate(
    house: House,
) -> None:
    house.accept(JOBS)
    house.sweep(10)
    assert house.messages() == JOBS
    assert house.resent == 0
    late: list[WakeUp] = []
    gone = 0
    for number in range(READ):
        wake_up = house.read()
        assert wake_up is not None
        if number % 100 == 7:
            gone += 1
        elif number % 100 == 50:
            # Its worker stops here, and goes on when the message has been sent again.
            gone += 1
            late.append(wake_up)
        else:
            assert house.run(wake_up)
        if number % 100 == 99:
            house.sweep()
            assert house.messages() <= 1.01 * house.waiting()
            if len(late) > 5:
                house.run(late.pop(0))
    house.sweep()
    assert house.resent == gone


def test_jobs_that_move_to_a_better_lane_take_their_messages_along(house: House) -> None:
    house.accept(SOME // 2, Priority.LOW)
    house.accept(SOME // 2, Priority.NORMAL)
    house.sweepers = house.hire(max_wait=0.0)
    house.sweep(10)
    assert house.redis.llen(QUEUE_PREFIX + "high") == house.messages() == house.waiting() == SOME


def test_a_pause_that_swallows_messages_brings_each_back_once(house: House, redis: Redis) -> None:
    house.accept(SOME)
    pause = Pause(redis)
    pause.pause()
    for _ in range(SOME // 10):
        wake_up = house.read()
        assert wake_up is not None
        assert house.run(wake_up) is None
    house.sweep(5)
    assert house.resent == 0
    pause.resume()
    house.sweep(5)
    assert house.messages() <= SOME
    # The last was not overtaken yet.
    assert SOME // 10 - 10 <= house.resent < SOME // 10
