"""A PostgreSQL that keeps its connections but does not respond, like a machine without memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from common.errors import BackendUnavailable
from common.history import HistoryReader, migrate, open_engine
from common.history.database import _MIGRATION_LOCK
from stack.postgres import Postgres, start_postgres

TIMEOUT = 1.0


def _processes(server: Postgres) -> list[psutil.Process]:
    # Every one is in a session of its own, so that a signal to the group would not reach it.
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def freeze(server: Postgres) -> None:
    for process in _processes(server):
        process.suspend()


def thaw(server: Postgres) -> None:
    for process in _processes(server):
        # The process of a connection ends with it.
        with suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    server = start_postgres(tmp_path / "postgres")
    yield server
    thaw(server)
    server.process.stop()


def test_a_query_is_given_up_and_the_pool_recovers(server: Postgres) -> None:
    engine = open_engine(server.url, timeout=TIMEOUT, size=2)
    migrate(engine)
    reader = HistoryReader(engine)
    reader.check()
    freeze(server)
    for _ in range(4):
        started = time.monotonic()
        with pytest.raises(BackendUnavailable):
            reader.check()
        # One for the ping of a pooled connection, one for the statement or a new connection.
        assert time.monotonic() - started < 2 * (TIMEOUT + 1)
    thaw(server)
    reader.check()
    engine.dispose()


def test_a_late_response_is_not_taken_for_that_of_the_next_statement(server: Postgres) -> None:
    engine = open_engine(server.url, timeout=TIMEOUT, size=1)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
        freeze(server)
        with pytest.raises(OperationalError, match="did not respond in time"):
            connection.execute(text("SELECT 2"))
    thaw(server)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 3")).scalar() == 3
    engine.dispose()


def test_a_migration_may_take_longer_than_a_query(server: Postgres) -> None:
    engine = open_engine(server.url, timeout=TIMEOUT, size=2)
    with engine.connect() as other:
        # The advisory lock of another process that migrates.
        other.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        waiting = open_engine(server.url, timeout=TIMEOUT, size=1)
        thread = threading.Thread(target=migrate, args=(waiting,))
        thread.start()
        time.sleep(2 * TIMEOUT)
        assert thread.is_alive()
    thread.join(20)
    assert not thread.is_alive()
    with waiting.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar() == 0
    waiting.dispose()
    engine.dispose()
