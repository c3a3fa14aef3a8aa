"""Following a job over connections that break, buffer, reject or send garbage."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from longhaul_client import ApiProblem, Longhaul, Unreachable, watch
from longhaul_client.watch import WatchTransport
from tests.support.client_fakes import JOB_ID, FakeApi, job, job_json, problem, stream

SUBSCRIBE = f"GET /v1/download/subscribe/{JOB_ID}"
STATUS = f"GET /v1/download/status/{JOB_ID}"


def event(status: str, version: int, **members: Any) -> bytes:
    body = json.dumps(job_json(status, version, **members))
    return f"event: progress\nid: {version}\ndata: {body}\n\n".encode()


def versions(api: FakeApi, **options: Any) -> list[int]:
    return [snapshot.version for snapshot in api.client.watch(JOB_ID, **options)]


def test_a_stream_is_followed_to_its_terminal_event() -> None:
    api = FakeApi(stream(event("queued", 1), event("processing", 2), event("completed", 3)))
    assert versions(api) == [1, 2, 3]
    assert api.calls == [SUBSCRIBE]


def test_snapshots_that_are_not_newer_are_ignored() -> None:
    api = FakeApi(stream(event("processing", 2), event("processing", 2), event("completed", 3)))
    assert versions(api, since=1) == [2, 3]


def test_a_heartbeat_without_a_job_yields_no_snapshot() -> None:
    heartbeat = b"event: heartbeat\ndata: {}\n\n"
    api = FakeApi(stream(heartbeat, event("completed", 1)))
    assert versions(api) == [1]


def test_a_broken_stream_is_resumed_from_the_last_id_after_the_retry_time() -> None:
    api = FakeApi(
        stream(b"retry: 4000\n\n", event("processing", 2), httpx.ReadError("cut")),
        stream(event("completed", 3)),
    )
    assert versions(api) == [2, 3]
    assert api.calls == [SUBSCRIBE, SUBSCRIBE]
    assert api.requests[1].headers["Last-Event-ID"] == "2"
    assert 4.0 <= api.clock.pauses[0] <= 5.0


def test_a_stream_that_ends_before_the_job_is_opened_again() -> None:
    api = FakeApi(stream(event("processing", 1)), stream(event("completed", 2)))
    assert versions(api) == [1, 2]


def test_a_stream_without_any_event_is_replaced_by_a_long_poll_immediately() -> None:
    api = FakeApi(stream(httpx.ReadTimeout("silent")), job("completed", 3))
    assert versions(api, since=2) == [3]
    assert api.calls == [SUBSCRIBE, f"{STATUS}?wait=25&since=2"]
    assert api.clock.pauses == []


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, html="<h1>Please log in to the Wi-Fi</h1>"),
        httpx.Response(403, html="<h1>Blocked by policy</h1>"),
        httpx.ConnectError("refused"),
        httpx.DecodingError("damaged"),
        stream(b"data: not json\n\n"),
        stream(b"data: " + b"x" * (1 << 21)),
    ],
    ids=["captive portal", "blocked", "refused", "damaged", "garbage", "endless line"],
)
def test_a_response_that_is_not_an_event_stream_is_replaced_by_a_long_poll(
    response: httpx.Response | Exception,
) -> None:
    api = FakeApi(response, job("completed", 1))
    assert versions(api) == [1]


def test_a_failed_long_poll_is_replaced_by_polls_at_the_interval_of_the_api() -> None:
    def polled(version: int, status: str = "processing") -> httpx.Response:
        return httpx.Response(200, json=job_json(status, version), headers={"Retry-After": "5"})

    api = FakeApi(
        httpx.ConnectError("no stream"),
        httpx.ReadTimeout("held too long"),
        polled(1),
        polled(2),
        polled(3, "completed"),
    )
    assert versions(api) == [1, 2, 3]
    assert api.calls[2:] == [STATUS] * 3
    assert all(5.0 <= pause <= 6.25 for pause in api.clock.pauses)


def test_long_polls_that_return_immediately_stay_a_second_apart() -> None:
    api = FakeApi(
        httpx.Response(404, text="no streams here"),
        *[job("processing", 1)] * 3,
        job("completed", 2),
    )
    assert versions(api) == [1, 2]
    assert api.clock.pauses == [1.0, 1.0, 1.0]


def test_the_stream_is_tried_again_after_half_a_minute() -> None:
    api = FakeApi(
        httpx.ConnectError("no stream"),
        *[job("processing", 1)] * 32,
        stream(event("completed", 2)),
    )
    assert versions(api) == [1, 2]
    assert api.calls[-1] == SUBSCRIBE


def test_only_the_given_transports_are_used() -> None:
    api = FakeApi(job("processing", 1), job("completed", 2))
    assert versions(api, transports=[WatchTransport.POLL]) == [1, 2]
    assert api.calls == [STATUS, STATUS]


@pytest.mark.parametrize(("status", "code"), [(404, "JOB_NOT_FOUND"), (403, "FORBIDDEN")])
def test_a_rejected_request_ends_the_watch(status: int, code: str) -> None:
    api = FakeApi(problem(status, code), problem(status, code))
    with pytest.raises(ApiProblem, match=code):
        versions(api)
    assert api.calls[1].startswith(STATUS)


def test_a_rejected_stream_is_final_only_without_another_transport() -> None:
    api = FakeApi(problem(403, "FORBIDDEN"), job("completed", 1))
    assert versions(api) == [1]
    api = FakeApi(problem(403, "FORBIDDEN"))
    with pytest.raises(ApiProblem, match="FORBIDDEN"):
        versions(api, transports=[WatchTransport.SSE])


def test_a_busy_api_is_retried_after_retry_after() -> None:
    busy = problem(429, "RATE_LIMIT_EXCEEDED", **{"Retry-After": "7"})
    api = FakeApi(busy, job("completed", 1))
    assert versions(api, transports=[WatchTransport.POLL]) == [1]
    assert api.clock.pauses[0] == 7.0


def test_the_body_of_410_is_a_snapshot_of_the_cancelled_job() -> None:
    gone = httpx.Response(410, json=job_json("cancelled", 4))
    api = FakeApi(gone, httpx.Response(410, json=job_json("cancelled", 4)))
    assert versions(api) == [4]


def test_the_watch_times_out_without_a_request_storm() -> None:
    api = FakeApi(*[httpx.ConnectError("down")] * 60)
    with pytest.raises(Unreachable, match="no response for 120 s"):
        versions(api)
    assert len(api.requests) < 30


def test_a_finished_job_is_yielded_even_if_the_job_store_lost_its_latest_writes() -> None:
    api = FakeApi(stream(event("processing", 7)), stream(event("completed", 6)))
    assert versions(api) == [7, 6]


def test_a_finished_job_is_yielded_even_if_its_version_was_seen() -> None:
    api = FakeApi(stream(event("completed", 3)))
    assert versions(api, since=3) == [3]


def test_a_watch_survives_any_number_of_failures() -> None:
    api = FakeApi(*[httpx.ConnectError("down")] * 1_100, stream(event("completed", 1)))
    assert versions(api, transports=[WatchTransport.SSE], timeout=1e9) == [1]


def test_a_stream_buffered_by_a_proxy_is_closed_when_no_event_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "FIRST_EVENT_TIMEOUT", 0.3)
    with _buffering_server() as url, Longhaul(url) as client:
        assert [snapshot.status for snapshot in client.watch(JOB_ID)] == ["completed"]


@contextmanager
def _buffering_server() -> Iterator[str]:
    """A server that sends only the headers of a stream, but responds to status requests."""
    body = json.dumps(job_json("completed", 3)).encode()
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        for _ in range(2):
            connection = listener.accept()[0]
            held.append(connection)
            if b"/subscribe/" in connection.recv(4096):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            else:
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.join(5)
    for connection in [*held, listener]:
        connection.close()
