"""Whether a real job store takes writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from common.job_store.client import open_client
from common.job_store.write_check import WriteCheck
from stack.process import free_port
from stack.services import start_valkey


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Redis]:
    """A server that a test may fill and reconfigure."""
    server = start_valkey(tmp_path)
    client = open_client(server.url, timeout=5)
    yield client
    client.close()
    server.process.stop()


def test_a_job_store_that_responds_but_takes_no_writes_fails_the_check(own_valkey: Redis) -> None:
    check = WriteCheck(own_valkey)
    check.run()
    own_valkey.config_set("maxmemory-policy", "noeviction")
    own_valkey.config_set("maxmemory", "1")
    assert own_valkey.ping()
    with pytest.raises(RedisError, match="maxmemory"):
        check.run()
    own_valkey.config_set("maxmemory", "0")
    check.run()
    own_valkey.replicaof("127.0.0.1", free_port())
    assert own_valkey.ping()
    with pytest.raises(RedisError, match="read only"):
        check.run()
