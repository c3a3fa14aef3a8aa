"""Real services from the wheels in the lock file, started once for each test process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from stack.postgres import Postgres, start_postgres
from stack.services import S3, Valkey, start_s3, start_valkey

# A busy machine may take longer than Hypothesis's 200 ms for any example.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the tests a temporary folder that other users may enter.

    PostgreSQL, which does not run as root, cannot use pytest's private folders.
    """
    tmp_path_factory.getbasetemp()
    with (
        tempfile.TemporaryDirectory(prefix="longhaul-tests-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        Path(folder).chmod(0o711)
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = start_valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = start_s3(tmp_path_factory.mktemp("s3"))
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.process.stop()
