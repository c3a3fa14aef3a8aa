"""The bound of the queue."""

from __future__ import annotations

import pytest

from api.queue_limit import LATEST_RETRY, QueueLimit
from common.errors import QueueFull


class Queue:
    """Says how many wait, and counts how often it is asked."""

    def __init__(self) -> None:
        self.length = 0
        self.asked = 0

    def waiting(self) -> int:
        self.asked += 1
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
def admission(queue, clock) -> QueueLimit:
    return QueueLimit(queue, most=10, clock=clock)


def test_the_queue_is_asked_at_most_once_a_second(admission, queue, clock):
    for _ in range(5):
        admission.check()
    assert queue.asked == 1
    clock.now += 1
    admission.check()
    assert queue.asked == 2


def test_jobs_accepted_since_the_last_look_count(admission, queue):
    queue.length = 8
    for _ in range(2):
        admission.check()
        admission.accepted()
    with pytest.raises(QueueFull):
        admission.check()


def test_accepted_jobs_are_not_counted_twice_after_a_look(admission, queue, clock):
    admission.check()
    for _ in range(9):
        admission.accepted()
    queue.length = 9
    clock.now += 1
    admission.check()
    assert admission.waiting == 9


def test_the_time_to_come_back_is_that_of_the_drain(admission, queue, clock):
    queue.length = 30
    with pytest.raises(QueueFull):
        admission.check()
    queue.length = 25
    clock.now += 1
    with pytest.raises(QueueFull) as refusal:
        admission.check()
    assert refusal.value.retry_after == pytest.approx(16 / 5)


def test_a_queue_that_does_not_move_promises_nothing_soon(admission, queue):
    queue.length = 10
    with pytest.raises(QueueFull) as refusal:
        admission.check()
    assert refusal.value.retry_after == LATEST_RETRY
