"""History through PgBouncer with pool_mode=transaction, as docs/capacity.md describes it.

A transaction may run on any of its connections to PostgreSQL, so nothing may depend on what an
earlier transaction left there (pgbouncer.org, "SQL feature map for pooling modes").
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from common.errors import BackendUnavailable
from common.history import HistoryReader, open_engine
from common.history.database import is_outage
from common.job_store.jobs import JobStore
from common.jobs.transitions import JobState
from stack.postgres import UNPRIVILEGED, Postgres, database_url, start_postgres
from stack.process import Process, accepts_connections, free_port, wait_until
from tests.integration.history.test_writer import run
from worker.maintenance.history_recorder import HistoryRecorder

PGBOUNCER = Path("/usr/sbin/pgbouncer")
POOL_SIZE = 2

_SETTINGS = """
[databases]
postgres = host=127.0.0.1 port={server} dbname=postgres user=longhaul
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
ignore_startup_parameters = options
server_login_retry = 1
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    server = start_postgres(tmp_path / "postgres")
    yield server
    server.process.stop()


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    """Start PgBouncer in front of the server, and return the database's URL there."""
    if not PGBOUNCER.exists():
        pytest.skip("pgbouncer is not installed on this machine")
    port = free_port()
    # It refuses to run as root, and no other user can enter pytest's directories.
    with tempfile.TemporaryDirectory() as directory:
        settings = Path(directory) / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(server=server.port, port=port, pool_size=POOL_SIZE))
        Path(directory).chmod(0o755)
        process = Process(
            "pgbouncer",
            [str(PGBOUNCER), str(settings)],
            cwd=Path("/"),
            user=pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None,
        )
        try:
            wait_until(lambda: accepts_connections(port), "PgBouncer")
            yield database_url(port)
        finally:
            process.stop(5)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The engine of the process that records."""
    engine = open_engine(url, timeout=5, size=3)
    yield engine
    engine.dispose()


@pytest.fixture
def reader(url: str) -> Iterator[HistoryReader]:
    """The reader of another process."""
    engine = open_engine(url, timeout=5, size=3)
    yield HistoryReader(engine)
    engine.dispose()


def test_jobs_are_recorded_and_read_by_many_over_few_connections(
    recorder: HistoryRecorder, reader: HistoryReader, jobs: JobStore
) -> None:
    with ThreadPoolExecutor(6) as pool:
        for number in range(12):
            job = run(jobs, user=f"user-{number}")
            recorder.step()
            found = list(pool.map(reader.job_record, [job.id] * 12))
            assert {each.job.status for each in found if each} == {JobState.COMPLETED}
            assert len(found) == 12


def test_an_outage_behind_pgbouncer_loses_nothing(
    recorder: HistoryRecorder,
    reader: HistoryReader,
    server: Postgres,
    jobs: JobStore,
    tmp_path: Path,
) -> None:
    recorder.step()
    server.process.stop()
    job = run(jobs)
    with pytest.raises(BackendUnavailable):
        reader.job_record(job.id)
    _step(recorder)
    restarted = start_postgres(tmp_path / "postgres", port=server.port)
    try:
        wait_until(lambda: _is_recorded(recorder, reader, job.id), "the job", 30)
    finally:
        restarted.process.stop()


def _step(recorder: HistoryRecorder) -> None:
    try:
        recorder.step()
    except SQLAlchemyError as error:
        if not is_outage(error):
            raise


def _is_recorded(recorder: HistoryRecorder, reader: HistoryReader, job_id: str) -> bool:
    _step(recorder)
    try:
        return reader.job_record(job_id) is not None
    except BackendUnavailable:
        return False
