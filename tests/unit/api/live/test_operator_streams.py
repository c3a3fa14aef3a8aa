"""The operators' board on gevent's own loop, with a socket pair for each who looks."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import gevent
import orjson
import pytest
from redis.exceptions import ConnectionError as StoreIsAway

from api.live import operator_streams
from api.live.operator_streams import OperatorStreams


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_streams, "EVERY", 0.01)


class Client:
    """The other end of a stream."""

    def __init__(self, at: OperatorStreams) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        self._data = b""
        self.ended = False
        at.admit(theirs, at.opening())

    def events(self) -> list[Any]:
        """What has come so far, as far as it is whole."""
        while not self.ended:
            try:
                data = self.socket.recv(1_000_000)
            except BlockingIOError:
                break
            self._data += data
            self.ended = not data
        lines = self._data.rpartition(b"\n\n")[0].decode().splitlines()
        return [orjson.loads(line[6:]) for line in lines if line.startswith("data: ")]


Look = Callable[[OperatorStreams], Client]


@pytest.fixture
def look() -> Iterator[Look]:
    clients: list[Client] = []

    def open_one(at: OperatorStreams) -> Client:
        clients.append(Client(at))
        return clients[-1]

    yield open_one
    for client in clients:
        client.socket.close()
    gevent.sleep(0.05)


@pytest.fixture
def numbers() -> Iterator[int]:
    return count(1)


def test_all_who_look_share_one_reading(look: Look, numbers: Iterator[int]) -> None:
    shared = OperatorStreams(lambda: {"number": next(numbers)}, heartbeat=15)
    clients = [look(shared) for _ in range(5)]
    gevent.sleep(0.2)
    told = [[event["number"] for event in client.events()] for client in clients]
    assert [numbers[0] for numbers in told] == [1, 2, 3, 4, 5]
    assert len({tuple(numbers[1:]) for numbers in told}) == 1
    assert len(told[0]) > 3


def test_nothing_is_read_while_nobody_looks(look: Look, numbers: Iterator[int]) -> None:
    shared = OperatorStreams(lambda: {"number": next(numbers)}, heartbeat=15)
    client = look(shared)
    gevent.sleep(0.05)
    client.socket.close()
    gevent.sleep(0.1)
    read = next(numbers)
    gevent.sleep(0.1)
    assert next(numbers) == read + 1
    again = look(shared)
    gevent.sleep(0.1)
    assert len(again.events()) > 1


def test_the_same_reading_is_sent_again_only_as_a_heartbeat(look: Look) -> None:
    shared = OperatorStreams(lambda: {"number": 1}, heartbeat=0.1)
    client = look(shared)
    gevent.sleep(0.35)
    assert 3 <= len(client.events()) <= 6


def test_who_reads_slowly_gets_the_newest_and_not_all(look: Look, numbers: Iterator[int]) -> None:
    shared = OperatorStreams(lambda: {"number": next(numbers), "rest": "x" * 100_000}, heartbeat=15)
    client = look(shared)
    gevent.sleep(0.4)
    newest = next(numbers)
    told: list[int] = []
    with gevent.Timeout(5):
        while not told or told[-1] < newest:
            told = [event["number"] for event in client.events()]
            gevent.sleep(0.005)
    assert len(told) < newest / 2
    assert told == sorted(told)


def test_a_stream_ends_after_its_time(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_streams, "LIFETIME", 0.05)
    client = look(OperatorStreams(lambda: {"number": 1}, heartbeat=15))
    gevent.sleep(0.3)
    assert client.events()
    assert client.ended


def test_streams_end_while_the_store_is_away(look: Look) -> None:
    readings = iter([{"number": 1}, {"number": 2}])

    def read() -> dict[str, Any]:
        reading = next(readings, None)
        if reading is None:
            raise StoreIsAway
        return reading

    client = look(OperatorStreams(read, heartbeat=15))
    gevent.sleep(0.3)
    assert [event["number"] for event in client.events()] == [1, 2]
    assert client.ended
