"""The operators' streams on gevent's own loop, with a pair of sockets for each client."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import gevent
import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from api.live import operator_streams
from api.live.operator_streams import OperatorStreams


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_streams, "READ_INTERVAL", 0.01)


class Client:
    """The client's end of a stream."""

    def __init__(self, streams: OperatorStreams) -> None:
        self.socket, server_end = socket.socketpair()
        self.socket.setblocking(False)
        self._data = b""
        self.ended = False
        streams.open_stream()(server_end, b"")

    def events(self) -> list[Any]:
        """Return the events that have arrived completely."""
        while not self.ended:
            try:
                data = self.socket.recv(1_000_000)
            except BlockingIOError:
                break
            self._data += data
            self.ended = not data
        lines = self._data.rpartition(b"\n\n")[0].decode().splitlines()
        return [orjson.loads(line[6:]) for line in lines if line.startswith("data: ")]


OpenClient = Callable[[OperatorStreams], Client]


@pytest.fixture
def open_client() -> Iterator[OpenClient]:
    clients: list[Client] = []

    def open_one(streams: OperatorStreams) -> Client:
        clients.append(Client(streams))
        return clients[-1]

    yield open_one
    for client in clients:
        client.socket.close()
    gevent.sleep(0.05)


@pytest.fixture
def numbers() -> Iterator[int]:
    return count(1)


def test_all_streams_share_one_read(open_client: OpenClient, numbers: Iterator[int]) -> None:
    streams = OperatorStreams(lambda: {"number": next(numbers)}, heartbeat_interval=15)
    clients = [open_client(streams) for _ in range(5)]
    gevent.sleep(0.2)
    received = [[event["number"] for event in client.events()] for client in clients]
    assert [numbers[0] for numbers in received] == [1, 2, 3, 4, 5]
    assert len({tuple(numbers[1:]) for numbers in received}) == 1
    assert len(received[0]) > 3


def test_overview_is_not_read_without_streams(
    open_client: OpenClient, numbers: Iterator[int]
) -> None:
    streams = OperatorStreams(lambda: {"number": next(numbers)}, heartbeat_interval=15)
    client = open_client(streams)
    gevent.sleep(0.05)
    client.socket.close()
    gevent.sleep(0.1)
    read = next(numbers)
    gevent.sleep(0.1)
    assert next(numbers) == read + 1
    again = open_client(streams)
    gevent.sleep(0.1)
    assert len(again.events()) > 1


def test_unchanged_overview_is_sent_again_only_as_a_heartbeat(open_client: OpenClient) -> None:
    streams = OperatorStreams(lambda: {"number": 1}, heartbeat_interval=0.1)
    began = time.monotonic()
    client = open_client(streams)
    while len(events := client.events()) < 4:
        gevent.sleep(0.01)
    # The first one comes immediately, and an interval may begin a little before its timer.
    assert len(events) == 4
    assert time.monotonic() - began > 0.2


def test_slow_reader_gets_the_newest_overview_and_not_all(
    open_client: OpenClient, numbers: Iterator[int]
) -> None:
    streams = OperatorStreams(
        lambda: {"number": next(numbers), "rest": "x" * 100_000}, heartbeat_interval=15
    )
    client = open_client(streams)
    gevent.sleep(0.4)
    newest = next(numbers)
    received: list[int] = []
    with gevent.Timeout(5):
        while not received or received[-1] < newest:
            received = [event["number"] for event in client.events()]
            gevent.sleep(0.005)
    assert len(received) < newest / 2
    assert received == sorted(received)


def test_stream_ends_at_its_maximum_age(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_streams, "MAX_AGE", 0.05)
    client = open_client(OperatorStreams(lambda: {"number": 1}, heartbeat_interval=15))
    gevent.sleep(0.3)
    assert client.events()
    assert client.ended


def test_streams_end_when_the_job_store_is_unavailable(open_client: OpenClient) -> None:
    readings = iter([{"number": 1}, {"number": 2}])

    def read() -> dict[str, Any]:
        reading = next(readings, None)
        if reading is None:
            raise RedisConnectionError
        return reading

    client = open_client(OperatorStreams(read, heartbeat_interval=15))
    gevent.sleep(0.3)
    assert [event["number"] for event in client.events()] == [1, 2]
    assert client.ended
