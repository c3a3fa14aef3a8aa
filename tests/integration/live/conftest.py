"""One API for the tests that leave it running, and a job store of their own for the others."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from redis import Redis

from common.job_store.client import open_client
from common.job_store.jobs import JobStore, Limits
from common.jobs.model import Job, JobSpec
from stack.services import Valkey, start_valkey
from tests.support.live_api import Api, running


class NoWakeUps:
    """Sends no wake-ups: there are no workers."""

    template = None

    def send(self, wake_ups: object) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def api(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    log = tmp_path_factory.mktemp("api") / "log"
    with running(Api(valkey.url, log, HEARTBEAT_INTERVAL=1)) as started:
        yield started


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    client = open_client(valkey.url, timeout=5)
    yield client
    client.close()


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return store(redis)


def store(client: Redis) -> JobStore:
    return JobStore(client, NoWakeUps(), Limits(max_active=1_000_000))


@pytest.fixture
def new_job(jobs: JobStore) -> Callable[[], Job]:
    return lambda: make_job(jobs)


_numbers = count(1)


def make_job(jobs: JobStore) -> Job:
    return jobs.create("alice", JobSpec(file_ids=(next(_numbers),))).job


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A job store that the test may stop or kill."""
    server = start_valkey(tmp_path / "valkey")
    yield server
    server.process.signal(signal.SIGCONT)
    server.process.stop()
