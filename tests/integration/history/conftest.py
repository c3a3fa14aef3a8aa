"""The state log on a real Valkey and its history on a real PostgreSQL, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine, delete

from common.celery_app import celery_app
from common.history import HistoryReader, HistoryWriter, migrate, open_engine
from common.history.tables import ERASURES, JOBS, USAGE
from common.job_store.download_log import DownloadLog
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.state_log import StateLog
from common.wake_ups import Dispatcher
from stack.postgres import Postgres
from stack.services import Valkey
from worker.maintenance.history_recorder import HistoryRecorder


@pytest.fixture
def engine(postgres: Postgres) -> Iterator[Engine]:
    engine = open_engine(postgres.url, timeout=5, size=4)
    migrate(engine)
    with engine.begin() as connection:
        for table in (JOBS, USAGE, ERASURES):
            connection.execute(delete(table))
    yield engine
    engine.dispose()


@pytest.fixture
def jobs(valkey: Valkey, redis: Redis) -> JobStore:
    return JobStore(redis, Dispatcher(celery_app(valkey.url), same_server=True))


@pytest.fixture
def reader(engine: Engine) -> HistoryReader:
    return HistoryReader(engine)


@pytest.fixture
def recorder(redis: Redis, engine: Engine) -> HistoryRecorder:
    return HistoryRecorder(
        StateLog(redis, "history", "one"),
        DownloadLog(redis),
        HistoryWriter(engine),
        JobQueries(redis),
        migrate=lambda: migrate(engine),
        retention=None,
    )
