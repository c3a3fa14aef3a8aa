"""The job store on a real Valkey, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from common.job_store.client import open_client
from stack.services import Valkey


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    client = open_client(valkey.url, timeout=5)
    client.flushall()
    yield client
    client.close()
