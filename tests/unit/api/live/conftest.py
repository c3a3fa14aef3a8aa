"""Jobs on fakeredis, with its channels played to the hub as the real feed would."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
import pytest
from redis import Redis

from api.live.hub import Hub
from api.live.messages import JobMessage
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.model import Job, JobSpec


class FakeFeed:
    """A connection to fakeredis that answers in order, when ``play`` is called."""

    def __init__(self, client: Redis) -> None:
        self.connected = True
        self._client = client
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._asked: deque[str] = deque()
        self.watched: list[str] = []

    def watch(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self.watched.append(job_id)
            self._pubsub.subscribe(keys.events(job_id))
            self._asked.append(job_id)

    def read(self, job_ids: Iterable[str]) -> None:
        self._asked += job_ids

    def unwatch(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self.watched.remove(job_id)
            self._pubsub.unsubscribe(keys.events(job_id))

    def play(self, hub: Hub) -> None:
        """Hand over what was published, then what was asked for."""
        while True:
            message = self._pubsub.get_message()
            if message is not None:
                hub.change(message["channel"].rpartition(":")[2], orjson.loads(message["data"]))
            elif not self._pubsub.subscribed or not self._pubsub.connection.can_read(0):
                break
        while self._asked:
            job_id = self._asked.popleft()
            hub.change(job_id, self._client.hgetall(keys.status(job_id)) or None)  # type: ignore[arg-type]

    def lose(self) -> None:
        """What was published or asked for will never come."""
        while self._pubsub.connection.can_read(0):
            self._pubsub.get_message()
        self._asked.clear()


class Recorder:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.place = 0
        self.told: list[tuple[str, int]] = []
        self.beats: list[int | None] = []
        self.is_gone = False

    def offer(self, event: JobMessage) -> None:
        self.told.append((event.name, event.version))

    def beat(self, event: JobMessage | None) -> None:
        self.beats.append(event.version if event else None)

    def gone(self) -> None:
        self.is_gone = True


def present(job: Job) -> Mapping[str, Any]:
    return {"jobId": job.id, "status": job.status.value, "version": job.version}


@pytest.fixture
def feed(redis: Redis) -> FakeFeed:
    return FakeFeed(redis)


@pytest.fixture
def hub(feed: FakeFeed) -> Hub:
    return Hub(feed, present, heartbeat=15)


@pytest.fixture
def new_job(jobs: JobStore) -> Callable[[], str]:
    numbers = iter(range(1, 1000))
    return lambda: jobs.create("alice", JobSpec(file_ids=(next(numbers),))).job.id
