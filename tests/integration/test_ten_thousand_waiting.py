"""With 10,000 waiting jobs lost wake-ups are detected and the queues are not flooded."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

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


class Queue:
    """The queue with its sweepers, and workers that the test controls."""

    def __init__(self, redis: Redis, url: str) -> None:
        self.redis = redis
        self.dispatcher = Dispatcher(celery_app(url), same_server=True)
        self.jobs = JobStore(redis, self.dispatcher, Limits(max_active=JOBS))
        self.sweepers = self.make_sweepers(max_wait=300.0)
        self.resent = 0

    def make_sweepers(self, *, max_wait: float) -> list[Sweeper]:
        return [
            Sweeper(self.redis, self.dispatcher, Limits(), max_wait=max_wait)
            for _ in range(SWEEPERS)
        ]

    def accept(self, count: int, priority: Priority = Priority.NORMAL) -> None:
        """Create jobs of as many users, each with its own wake-up."""
        for number in range(count):
            spec = JobSpec(file_ids=(1,), priority=priority)
            self.jobs.create(f"{priority}-{number}", spec)

    def sweep(self, times: int = 1) -> None:
        for _ in range(times):
            for sweeper in self.sweepers:
                self.resent += sweeper.sweep(self.dispatcher.queue_lengths).resent

    def read(self) -> WakeUp | None:
        """Return the next message, as the consumer of a worker gets it."""
        for priority in PRIORITIES:
            message: Any = self.redis.rpop(QUEUE_PREFIX + priority)
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
def queue(redis: Redis, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Queue:
    # In every sweep all waiting wake-ups are older than the limit for lost ones.
    monkeypatch.setattr(sweeper_module, "LOST_AFTER", 1)
    return Queue(redis, valkey.url)


def test_lost_messages_are_resent_and_fewer_than_one_in_a_hundred_is_a_duplicate(
    queue: Queue,
) -> None:
    queue.accept(JOBS)
    queue.sweep(10)
    assert queue.messages() == JOBS
    assert queue.resent == 0
    late: list[WakeUp] = []
    gone = 0
    for number in range(READ):
        wake_up = queue.read()
        assert wake_up is not None
        if number % 100 == 7:
            gone += 1
        elif number % 100 == 50:
            # Its worker stops here and continues after the message has been sent again.
            gone += 1
            late.append(wake_up)
        else:
            assert queue.run(wake_up)
        if number % 100 == 99:
            queue.sweep()
            assert queue.messages() <= 1.01 * queue.waiting()
            if len(late) > 5:
                queue.run(late.pop(0))
    queue.sweep()
    assert queue.resent == gone


def test_messages_move_to_the_higher_priority_with_their_jobs(queue: Queue) -> None:
    queue.accept(SOME // 2, Priority.LOW)
    queue.accept(SOME // 2, Priority.NORMAL)
    queue.sweepers = queue.make_sweepers(max_wait=0.0)
    queue.sweep(10)
    assert queue.redis.llen(QUEUE_PREFIX + "high") == queue.messages() == queue.waiting() == SOME


def test_each_message_that_a_pause_rejects_is_resent_once(queue: Queue, redis: Redis) -> None:
    queue.accept(SOME)
    pause = Pause(redis)
    pause.pause()
    for _ in range(SOME // 10):
        wake_up = queue.read()
        assert wake_up is not None
        assert queue.run(wake_up) is None
    queue.sweep(5)
    assert queue.resent == 0
    pause.resume()
    queue.sweep(5)
    assert queue.messages() <= SOME
    # The last one has not been overtaken yet.
    assert SOME // 10 - 10 <= queue.resent < SOME // 10
