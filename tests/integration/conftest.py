"""The job store on a real Valkey, emptied for each test, and a fake API for nginx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from common.job_store.client import open_client
from stack.services import Valkey
from tests.support.nginx_backend import Backend


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    client = open_client(valkey.url, timeout=5)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def backend() -> Iterator[Backend]:
    server = Backend()
    yield server
    server.shutdown()
    server.server_close()
