"""The connection of the live updates is opened again after any error."""

from __future__ import annotations

import os
from typing import Any

import gevent
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from api.live import store_connection
from api.live.store_connection import StoreConnection


class Subscription:
    """A connection that has nothing to read."""

    pending = 0

    def __init__(self, errors: list[Exception]) -> None:
        self._errors = errors
        self._reader, self._writer = os.pipe()
        self.connected = False

    def connect(self) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self.connected = True

    def close(self) -> None:
        self.connected = False

    def fileno(self) -> int:
        return self._reader

    def flush(self) -> bool:
        return True


class Hub:
    """A hub that fails to subscribe again, at first."""

    def __init__(self, errors: list[Exception]) -> None:
        self._errors = errors
        self.resubscribed = gevent.event.Event()

    def resubscribe(self) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self.resubscribed.set()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIN_RECONNECT_PAUSE", "MAX_RECONNECT_PAUSE"):
        monkeypatch.setattr(store_connection, name, 0.01)


def test_the_store_is_connected_again_after_any_error() -> None:
    subscription: Any = Subscription([RedisConnectionError("gone"), ValueError()])
    hub: Any = Hub([ValueError(), RedisConnectionError("gone")])
    stream_loop: Any = None
    StoreConnection(subscription, hub, stream_loop, gevent.get_hub().loop)
    assert hub.resubscribed.wait(5)
    assert subscription.connected
