"""One client's stream: fast and slow readers, and how streams end."""

from __future__ import annotations

import _socket
import dataclasses
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.limits import concurrency_limit
from api.live import sse, websocket
from api.live.messages import JobMessage, StreamFormat
from api.live.streams import Stream
from common.job_store.queries import JobQueries
from common.jobs.model import Job
from common.jobs.transitions import JobState
from common.object_storage import CredentialsError
from tests.unit.api.live.conftest import present
from tests.unit.api.live.test_websocket import Client

ALICE = concurrency_limit.Client("alice", "192.0.2.1")


@pytest.fixture
def job(new_job: Callable[[], str], queries: JobQueries) -> Job:
    return queries.get(new_job())


@pytest.fixture
def pair() -> Iterator[tuple[_socket.socket, socket.socket]]:
    """The server's end, as a stream has it, and the client's."""
    server_end, client_end = socket.socketpair()
    client_end.settimeout(2)
    connection = _socket.socket(
        server_end.family, server_end.type, server_end.proto, server_end.detach()
    )
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    yield connection, client_end
    connection.close()
    client_end.close()


def message(job: Job, version: int, **changes: Any) -> JobMessage:
    changed = dataclasses.replace(job, version=version, **changes)
    name = changed.status.value if changed.terminal else "progress"
    return JobMessage(changed, name, present)


def test_the_first_event_has_a_message_for_people(job: Job) -> None:
    for format_ in StreamFormat:
        connected = JobMessage(job, "connected", present).encode(format_)
        assert b'"message":"Connected.' in connected
        assert b'"message"' not in JobMessage(job, "progress", present).encode(format_)


def started(
    job: Job, connection: _socket.socket, format_: StreamFormat = StreamFormat.NAMED
) -> Stream:
    stream = Stream(job.id, format_, ALICE, lambda _: None)
    stream.start(connection, b"<head>", job.version, last=False)
    assert stream.flush()
    return stream


def fill(stream: Stream, job: Job) -> int:
    """Deliver newer versions until the client's buffers are full; return the one that got stuck."""
    for version in range(2, 10_000):
        stream.deliver(message(job, version, metadata={"x": "y" * 500}))
        if not stream.flush():
            return version
    raise AssertionError("the buffers never fill up")


def drain(stream: Stream, client: socket.socket) -> bytes:
    """Read as a client would until the stream has nothing left to write."""
    got = b""
    done = False
    while not done:
        got += client.recv(65_536)
        done = stream.flush()
    client.setblocking(False)
    while True:
        try:
            got += client.recv(65_536)
        except BlockingIOError:
            return got


def versions(received: bytes) -> list[int]:
    return [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]


def test_terminal_state_with_an_older_version_ends_the_stream(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    """A job store that lost its latest writes assigns the same versions again."""
    stream = started(job, pair[0])
    stream.deliver(message(job, 9))
    stream.deliver(message(job, 3))
    stream.deliver(message(job, 3, status=JobState.CANCELLED))
    assert stream.flush()
    assert stream.ended
    received = drain(stream, pair[1])
    assert received.count(b"event: progress") == 1
    assert received.count(b"event: cancelled") == 1


def test_messages_are_sent_in_order_and_older_ones_are_dropped(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0])
    for version in (2, 1, 2, 3, 1):
        stream.deliver(message(job, version))
        assert stream.flush()
    received = pair[1].recv(65_536)
    assert received.startswith(b"<head>")
    assert versions(received) == [2, 3]


def test_message_before_the_start_follows_the_snapshot_unless_that_is_newer(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    for before, expected in ((job.version, []), (job.version + 1, [job.version + 1])):
        stream = Stream(job.id, StreamFormat.NAMED, ALICE, lambda _: None)
        stream.deliver(message(job, before))
        stream.start(pair[0], b"<head>", job.version, last=False)
        assert stream.flush()
        assert versions(pair[1].recv(65_536)) == expected


def test_slow_reader_gets_complete_messages_and_the_newest_state(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0])
    stuck = fill(stream, job)
    for version in range(stuck + 1, stuck + 500):
        stream.deliver(message(job, version))
        assert not stream.flush()
    received = drain(stream, pair[1])
    seen = versions(received)
    assert seen == [*range(2, stuck + 1), stuck + 499]
    assert received.count(b"\n\n") == len(seen)


def test_slow_reader_never_misses_the_terminal_message(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0])
    stuck = fill(stream, job)
    stream.deliver(message(job, stuck + 1))
    stream.deliver(message(job, stuck + 2, status=JobState.CANCELLED))
    stream.heartbeat(JobMessage(job, "heartbeat", present))
    stream.deliver(message(job, stuck + 1))
    received = drain(stream, pair[1])
    assert stream.ended
    assert versions(received)[-1] == stuck + 2
    assert received.rpartition(b"event: ")[2].startswith(b"cancelled\n")


def test_nothing_follows_the_terminal_message(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0])
    stream.deliver(message(job, 2, status=JobState.CANCELLED))
    assert stream.flush()
    stream.deliver(message(job, 3))
    stream.heartbeat(JobMessage(job, "heartbeat", present))
    stream.end()
    assert stream.flush()
    assert versions(pair[1].recv(65_536)) == [2]


def test_heartbeat_does_not_replace_a_newer_state(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0])
    stream.deliver(message(job, 2))
    stream.heartbeat(JobMessage(job, "heartbeat", present))
    assert stream.flush()
    received = pair[1].recv(65_536)
    assert versions(received) == [2]
    assert b"heartbeat" not in received


def test_comment_keeps_the_stream_alive_while_the_job_store_is_unavailable(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0])
    pair[1].recv(100)
    stream.heartbeat(None)
    assert stream.flush()
    assert pair[1].recv(100) == sse.COMMENT


def test_stream_that_ends_on_deploy_sends_the_newest_state_first(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0], StreamFormat.WEBSOCKET)
    client = Client(pair[1])
    client.skip(b"<head>")
    stream.deliver(message(job, 2))
    stream.end()
    assert stream.flush()
    assert stream.ended
    assert [received["version"] for received in client.messages()] == [2]
    assert client.close_code == websocket.SERVICE_RESTART


def test_websocket_closes_with_1000_after_the_terminal_message(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0], StreamFormat.WEBSOCKET)
    client = Client(pair[1])
    client.skip(b"<head>")
    stream.deliver(message(job, 2, status=JobState.CANCELLED))
    assert stream.flush()
    (received,) = client.messages()
    assert (received["type"], received["jobId"]) == ("cancelled", job.id)
    assert client.close_code == websocket.NORMAL_CLOSURE


def test_websocket_replies_to_ping_and_close_frames(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0], StreamFormat.WEBSOCKET)
    client = Client(pair[1])
    client.skip(b"<head>")
    stream.receive(client.ping(b"payload"))
    assert stream.flush()
    client.messages()
    assert client.pongs == [b"payload"]
    stream.receive(client.close(1001))
    assert stream.ended
    assert stream.flush()
    client.messages()
    assert client.close_code == 1001


def test_replies_to_a_flood_of_pings_do_not_pile_up(
    job: Job, pair: tuple[_socket.socket, socket.socket]
) -> None:
    stream = started(job, pair[0], StreamFormat.WEBSOCKET)
    client = Client(pair[1])
    for _ in range(5_000):
        stream.receive(client.ping(b"x" * 100))
    assert len(stream._unsent) < 20_000


@pytest.mark.parametrize("format_", [StreamFormat.NAMED, StreamFormat.WEBSOCKET])
def test_a_job_that_cannot_be_rendered_ends_its_stream(
    job: Job, pair: tuple[_socket.socket, socket.socket], format_: StreamFormat
) -> None:
    """As when a link cannot be signed. The client reconnects, and gets an error."""

    def fail(_: Job) -> dict[str, Any]:
        raise CredentialsError

    stream = started(job, pair[0], format_)
    completed = dataclasses.replace(job, version=2, status=JobState.COMPLETED)
    stream.deliver(JobMessage(completed, "completed", fail))
    assert stream.flush()
    assert stream.ended
    received = drain(stream, pair[1])
    assert b"completed" not in received
    restart = websocket.close(websocket.SERVICE_RESTART)
    assert received.endswith(restart) is (format_ is StreamFormat.WEBSOCKET)
