"""A job store on fakeredis, which runs the same Lua as the real server."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import fakeredis
import pytest
import structlog
from redis import Redis

from common.job_store.jobs import JobStore, Limits
from common.job_store.queries import JobQueries
from common.job_store.sweeper import Sweeper
from common.jobs.model import WakeUp


@pytest.fixture
def default_logging() -> Iterator[None]:
    """Undo what the test configures."""
    root = logging.getLogger()
    level = root.level
    yield
    root.handlers.clear()
    root.setLevel(level)
    structlog.reset_defaults()


class RecordedWakeUps:
    """Records the wake-ups that scripts leave to their caller, as with a remote broker."""

    def __init__(self) -> None:
        self.template = None
        self.wake_ups: list[WakeUp] = []

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        self.wake_ups += wake_ups

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [(wake_up.job_id, wake_up.priority) for wake_up in self.wake_ups]


@pytest.fixture
def redis() -> Iterator[Redis]:
    client = fakeredis.FakeRedis(decode_responses=True, server=fakeredis.FakeServer())
    yield client
    client.close()


@pytest.fixture
def wake_ups() -> RecordedWakeUps:
    return RecordedWakeUps()


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def jobs(redis: Redis, wake_ups: RecordedWakeUps, limits: Limits) -> JobStore:
    return JobStore(redis, wake_ups, limits)


@pytest.fixture
def queries(redis: Redis) -> JobQueries:
    return JobQueries(redis)


@pytest.fixture
def sweeper(redis: Redis, wake_ups: RecordedWakeUps, limits: Limits) -> Sweeper:
    return Sweeper(redis, wake_ups, limits, max_wait=300.0)
