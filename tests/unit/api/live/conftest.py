"""Jobs on fakeredis, whose published changes reach the hub as in the real subscription."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest
from redis import Redis

from api.live.hub import Hub
from api.live.messages import JobMessage
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.model import Job, JobSpec


class FakeSubscription:
    """A connection to fakeredis that delivers in order, when ``play`` is called."""

    def __init__(self, client: Redis) -> None:
        self.connected = True
        self._client = client
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._to_read: deque[str] = deque()
        self.watched: list[str] = []

    def watch(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self.watched.append(job_id)
            self._pubsub.subscribe(keys.events(job_id))
            self._to_read.append(job_id)

    def read(self, job_ids: Iterable[str]) -> None:
        self._to_read += job_ids

    def unwatch(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self.watched.remove(job_id)
            self._pubsub.unsubscribe(keys.events(job_id))

    def play(self, hub: Hub) -> None:
        """Pass on what was published, then the jobs to read."""
        while True:
            message = self._pubsub.get_message()
            if message is not None:
                hub.on_update(message["channel"].rpartition(":")[2], orjson.loads(message["data"]))
            elif not self._pubsub.subscribed or not self._pubsub.connection.can_read(0):
                break
        while self._to_read:
            job_id = self._to_read.popleft()
            hub.on_update(job_id, self._client.hgetall(keys.status(job_id)) or None)

    def lose(self) -> None:
        """Lose what was published and what was to be read."""
        while self._pubsub.connection.can_read(0):
            self._pubsub.get_message()
        self._to_read.clear()


class Recorder:
    """A subscriber that records what it receives."""

    def __init__(self) -> None:
        self.position = 0
        self.messages: list[tuple[str, int]] = []
        self.heartbeats: list[int | None] = []
        self.is_deleted = False

    def deliver(self, message: JobMessage) -> None:
        self.messages.append((message.name, message.version))

    def heartbeat(self, message: JobMessage | None) -> None:
        self.heartbeats.append(message.version if message else None)

    def job_deleted(self) -> None:
        self.is_deleted = True


def present(job: Job) -> dict[str, Any]:
    return {"jobId": job.id, "status": job.status.value, "version": job.version}


@pytest.fixture
def subscription(redis: Redis) -> FakeSubscription:
    return FakeSubscription(redis)


@pytest.fixture
def hub(subscription: FakeSubscription) -> Hub:
    return Hub(subscription, present, heartbeat_interval=15)


@pytest.fixture
def new_job(jobs: JobStore) -> Callable[[], str]:
    numbers = iter(range(1, 1000))
    return lambda: jobs.create("alice", JobSpec(file_ids=(next(numbers),))).job.id
