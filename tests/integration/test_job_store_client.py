"""The job store's client."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as NoConnection

from common.job_store.client import open_client
from stack.process import free_port
from stack.services import Valkey


def test_a_client_with_its_own_connection_connects_on_first_use() -> None:
    client = open_client(f"redis://127.0.0.1:{free_port()}/0", timeout=1, own_connection=True)
    with client, pytest.raises(NoConnection):
        client.ping()


def test_a_client_with_its_own_connection_keeps_one_connection(valkey: Valkey) -> None:
    with open_client(valkey.url, timeout=1, own_connection=True) as client:
        assert len({client.client_id() for _ in range(3)}) == 1
