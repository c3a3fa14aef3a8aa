"""The limit of the queue's length."""

from __future__ import annotations

import pytest

from api.limits.queue_limit import MAX_RETRY_AFTER, QueueLimit
from common.errors import QueueFull


class Queue:
    """Returns ``length`` and counts how often it is read."""

    def __init__(self) -> None:
        self.length = 0
        self.reads = 0

    def waiting(self) -> int:
        self.reads += 1
        return self.length


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue_limit(queue: Queue, clock: Clock) -> QueueLimit:
    return QueueLimit(queue, max_waiting=10, clock=clock)


def test_the_queue_is_read_at_most_once_a_second(
    queue_limit: QueueLimit, queue: Queue, clock: Clock
) -> None:
    for _ in range(5):
        queue_limit.check()
    assert queue.reads == 1
    clock.now += 1
    queue_limit.check()
    assert queue.reads == 2


def test_jobs_accepted_since_the_last_read_count(queue_limit: QueueLimit, queue: Queue) -> None:
    queue.length = 8
    for _ in range(2):
        queue_limit.check()
        queue_limit.count_accepted()
    with pytest.raises(QueueFull):
        queue_limit.check()


def test_accepted_jobs_are_not_counted_twice_after_a_read(
    queue_limit: QueueLimit, queue: Queue, clock: Clock
) -> None:
    queue_limit.check()
    for _ in range(9):
        queue_limit.count_accepted()
    queue.length = 9
    clock.now += 1
    queue_limit.check()
    assert queue_limit.waiting == 9


def test_retry_after_is_estimated_from_the_drain_rate(
    queue_limit: QueueLimit, queue: Queue, clock: Clock
) -> None:
    queue.length = 30
    with pytest.raises(QueueFull):
        queue_limit.check()
    queue.length = 25
    clock.now += 1
    with pytest.raises(QueueFull) as error:
        queue_limit.check()
    assert error.value.retry_after == pytest.approx(16 / 5)


def test_retry_after_is_the_maximum_if_the_queue_does_not_drain(
    queue_limit: QueueLimit, queue: Queue
) -> None:
    queue.length = 10
    with pytest.raises(QueueFull) as error:
        queue_limit.check()
    assert error.value.retry_after == MAX_RETRY_AFTER
