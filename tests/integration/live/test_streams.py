"""What a client receives about one job, from the real API and job store."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.job_store.jobs import JobStore
from common.job_tickets import JobTickets
from common.jobs.model import Artifact, Failure, Job, Lease, Progress
from tests.support.live_api import Api, SseEvent, WebSocketClient

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")
FAILURE = Failure(code="NETWORK_ERROR", message="The connection broke", retryable=True)
NAMED, UNNAMED = "/v1/download/subscribe/{id}", "/v1/download/{id}/stream"


def claim(jobs: JobStore, job: Job) -> Lease:
    claimed = jobs.claim(job.id, "w")
    assert claimed is not None
    return claimed.lease


def without_heartheartbeats(events: list[SseEvent]) -> list[tuple[str, int]]:
    return [(event.name, event.version) for event in events if event.name != "heartbeat"]


def run_to_completion(jobs: JobStore, job: Job) -> None:
    """Claim, report progress, schedule a retry, claim again, complete: versions 2 to 6."""
    lease = claim(jobs, job)
    jobs.heartbeat(lease, {"progress": 40})
    jobs.retry_later(lease, FAILURE, 0)
    jobs.complete(claim(jobs, job), ARTIFACT, Progress(processed_files=1))


def test_named_stream_sends_every_state_and_ends(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    with api.open_stream(job.id) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-cache, no-transform"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["X-Request-ID"]
        first = stream.next()
        assert (first.name, first.version) == ("connected", 1)
        run_to_completion(jobs, job)
        rest = list(stream)
    assert without_heartheartbeats(rest) == [
        ("progress", 2),
        ("progress", 3),
        ("progress", 4),
        ("progress", 5),
        ("completed", 6),
    ]
    assert stream.retry == [2000]
    done = rest[-1].job
    assert (done["jobId"], done["status"], done["version"]) == (job.id, "completed", 6)
    assert done["downloadUrl"].startswith("http")
    assert done["timestamp"].endswith("Z")
    _, _, body = api.get(f"/v1/download/status/{job.id}")
    assert b'"completed"' in body


def test_unnamed_stream_sends_the_same_as_messages(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    with api.open_stream(job.id, path=UNNAMED) as stream:
        assert stream.next().name == "message"
        jobs.cancel(job.id)
        last = list(stream)[-1]
    assert (last.name, last.job["status"], last.version) == ("message", "cancelled", 2)


def test_stream_of_a_finished_job_sends_its_state_and_ends(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    jobs.cancel(job.id)
    with api.open_stream(job.id) as stream:
        assert [(e.name, e.version) for e in stream] == [("connected", 0), ("cancelled", 2)]


def test_reconnecting_client_gets_a_snapshot_only_if_it_missed_something(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    claim(jobs, job)
    with api.open_stream(job.id, headers={"Last-Event-ID": "1"}) as missed:
        assert (missed.next().name) == "connected"
    with api.open_stream(job.id, path=NAMED + "?lastEventId=1") as missed:
        assert missed.next().name == "connected"
    with api.open_stream(job.id, headers={"Last-Event-ID": "2"}) as current:
        first = current.next()
        assert (first.name, first.version) == ("heartbeat", 2)
        jobs.cancel(job.id)
        assert list(current)[-1].name == "cancelled"
    # 204 stops an EventSource from reconnecting.
    assert api.get(NAMED.format(id=job.id), {"Last-Event-ID": "3"})[0] == 204
    with api.open_stream(job.id, headers={"Last-Event-ID": "2"}) as late:
        assert [event.name for event in late] == ["connected", "cancelled"]


def test_heartbeat_contains_the_whole_job_and_comes_on_time(
    api: Api, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    with api.open_stream(job.id) as stream:
        stream.next()
        started = time.monotonic()
        heartbeats = [stream.next() for _ in range(3)]
    assert 2.0 < time.monotonic() - started < 4.5
    assert {event.name for event in heartbeats} == {"heartbeat"}
    assert all(event.job["jobId"] == job.id and event.version == 1 for event in heartbeats)


@pytest.mark.parametrize("path", [NAMED, UNNAMED])
@pytest.mark.parametrize("job_id", [UNKNOWN_ID, "nonsense"])
def test_unknown_job_is_a_problem(api: Api, path: str, job_id: str) -> None:
    status, headers, body = api.get(path.format(id=job_id))
    assert status == 404
    assert headers["Content-Type"] == "application/problem+json"
    assert b"JOB_NOT_FOUND" in body


def test_head_request_does_not_open_a_stream(api: Api, new_job: Callable[[], Job]) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)
    connection.request("HEAD", NAMED.format(id=new_job().id))
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
    assert response.read() == b""
    connection.close()


def test_websocket_sends_every_state_and_closes_with_1000(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    client = WebSocketClient(api.port, job.id)
    messages = iter(client)
    first = next(messages)
    assert (first["type"], first["version"], first["jobId"]) == ("connected", 1, job.id)
    run_to_completion(jobs, job)
    received = [(m["type"], m["version"]) for m in messages if m["type"] != "heartbeat"]
    assert [version for _, version in received] == [2, 3, 4, 5, 6]
    assert received[-1] == ("completed", 6)
    assert client.close_code == 1000
    client.close()


def test_websocket_of_an_unknown_job_closes_with_4404(api: Api) -> None:
    client = WebSocketClient(api.port, UNKNOWN_ID)
    assert list(client) == []
    assert client.close_code == 4404
    client.close()


def test_invalid_websocket_handshake_is_a_problem(api: Api, new_job: Callable[[], Job]) -> None:
    status, _, body = api.get(
        NAMED.format(id=new_job().id), {"Upgrade": "websocket", "Connection": "Upgrade"}
    )
    assert status == 400
    assert b"VALIDATION_ERROR" in body


def test_long_poll_responds_as_soon_as_the_job_changes(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(api.get, f"/v1/download/status/{job.id}?wait=10&since=1")
        time.sleep(0.5)
        assert not poll.done()
        changed = time.monotonic()
        jobs.cancel(job.id)
        status, headers, _ = poll.result()
    assert time.monotonic() - changed < 0.5
    assert (status, headers["ETag"]) == (410, '"2"')


def test_long_poll_responds_with_the_current_state_after_its_timeout(
    api: Api, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    started = time.monotonic()
    status, headers, _ = api.get(f"/v1/download/status/{job.id}?wait=1&since=1")
    assert 0.9 < time.monotonic() - started < 3
    assert (status, headers["ETag"]) == (200, '"1"')


def test_client_that_switches_transports_neither_misses_nor_repeats_a_state(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    with api.open_stream(job.id) as stream:
        seen = [stream.next().version]
        lease = claim(jobs, job)
        seen.append(stream.next().version)
    jobs.heartbeat(lease, {"progress": 10})
    _, headers, _ = api.get(f"/v1/download/status/{job.id}?wait=5&since={seen[-1]}")
    seen.append(int(headers["ETag"].strip('"')))
    jobs.heartbeat(lease, {"progress": 20})
    client = WebSocketClient(api.port, job.id, query=f"?lastEventId={seen[-1]}")
    messages = (m for m in client if m["type"] != "heartbeat")
    seen.append(next(messages)["version"])
    jobs.complete(lease, ARTIFACT, Progress())
    seen += [message["version"] for message in messages]
    client.close()
    assert seen == [1, 2, 3, 4, 5]


def test_ticket_identifies_the_user_of_the_stream(api: Api, new_job: Callable[[], Job]) -> None:
    response = api.post("/v1/download/initiate", {"file_ids": [1]}, **{"X-User-Id": "bob"})
    ticket = response["subscribeUrl"].partition("?ticket=")[2]
    assert JobTickets("the same for all processes").holder(ticket, response["jobId"]) == "bob"
    assert response["webSocketUrl"].startswith("ws://")
    assert response["webSocketUrl"].endswith(f"?ticket={ticket}")
    with api.open_stream(response["jobId"], path=NAMED + f"?ticket={ticket}") as stream:
        assert stream.next().name == "connected"
