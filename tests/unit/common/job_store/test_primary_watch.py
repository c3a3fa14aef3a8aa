"""The thread that asks the Sentinels for the primary."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store import client


class Pool:
    """A pool of connections whose Sentinels fail in different ways."""

    def __init__(self) -> None:
        self.errors = [RedisConnectionError("gone"), ValueError("not an address")]

    def get_master_address(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


def test_the_primary_is_watched_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PRIMARY_WATCH_INTERVAL", 0.0)
    pool = Pool()
    pools = iter([pool, pool, pool, None])
    reference: Any = pools.__next__
    client._watch_primary(reference)
    assert list(pools) == []
