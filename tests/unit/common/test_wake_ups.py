"""A broker that hangs must not hold up the sweeper."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from common import wake_ups
from common.jobs.model import PRIORITIES, WakeUp
from common.wake_ups import BACKOFF, MAX_COUNT_TIME, Dispatcher
from stack.process import wait_until
from tests.unit.worker.attempt.test_runner import FastClock
from worker.maintenance.sweep_thread import MAX_RESPONSE_TIME


class HangingBroker:
    """A Celery app whose broker accepts connections and does not respond."""

    def __init__(self) -> None:
        self.responds = Event()
        self.send_task = Mock()

    @contextmanager
    def connection_or_acquire(self) -> Iterator[Any]:
        if not self.responds.wait(5):
            raise TimeoutError
        channel = Mock(queue_declare=Mock(return_value=SimpleNamespace(message_count=3)))
        channel.__enter__ = Mock(return_value=channel)
        channel.__exit__ = Mock(return_value=None)
        yield Mock(channel=lambda: channel, channel_errors=())

    def connection_for_read(self) -> Any:
        return SimpleNamespace(connection_errors=(), channel_errors=())


def test_a_broker_that_hangs_is_unavailable_until_it_responds_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wake_ups, "MAX_COUNT_TIME", 0.02)
    broker, clock = HangingBroker(), FastClock()
    dispatcher = Dispatcher(broker, same_server=False, clock=clock)
    began = time.monotonic()
    for _ in range(3):
        assert dispatcher.queue_lengths() is None
        dispatcher.send([WakeUp(job_id="1", priority="normal", sent=1)])
        clock.sleep(BACKOFF)
    assert time.monotonic() - began < 4
    broker.send_task.assert_not_called()
    broker.responds.set()

    def counted() -> bool:
        clock.sleep(BACKOFF)
        return dispatcher.queue_lengths() == dict.fromkeys(PRIORITIES, 3)

    wait_until(counted, "a count", 5)


def test_a_count_is_shorter_than_a_stall_of_the_job_store_that_the_sweeper_notices() -> None:
    assert MAX_COUNT_TIME < MAX_RESPONSE_TIME
