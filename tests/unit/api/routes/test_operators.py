"""Calls for operators, and who is an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common.job_store.jobs import JobStore
from common.jobs.model import Failure

BROKEN = Failure(code="NETWORK_ERROR", message="The connection was reset", retryable=True)
CALLS = (
    ("GET", "/v1/admin/dead-letters"),
    ("POST", "/v1/admin/dead-letters/00000000-0000-4000-8000-000000000000/requeue"),
    ("POST", "/v1/admin/queue/pause"),
    ("POST", "/v1/admin/queue/resume"),
    ("GET", "/v1/admin/workers"),
    ("GET", "/v1/admin/overview"),
    ("GET", "/v1/admin/stream"),
)
LOCAL: dict[str, Any] = {"base_url": "http://127.0.0.1:8080"}


def dead(jobs: JobStore, job_id: str) -> None:
    for attempt in range(2):
        claim = jobs.claim(job_id, f"worker-{attempt}")
        assert claim
        if attempt == 0:
            jobs.retry_later(claim.lease, BROKEN, delay=0)
        else:
            jobs.fail(claim.lease, BROKEN)


def test_dead_letters_show_every_attempt_and_can_be_requeued(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore
) -> None:
    job_id = post(file_ids=[1]).json["jobId"]
    dead(jobs, job_id)
    response = client.get("/v1/admin/dead-letters", **LOCAL).json
    (letter,) = response["deadLetters"]
    assert response["nextCursor"] is None
    assert (letter["job"]["jobId"], letter["userId"]) == (job_id, "anonymous")
    assert [note["worker"] for note in letter["attempts"]] == ["worker-0", "worker-1"]
    assert {note["errorCode"] for note in letter["attempts"]} == {"NETWORK_ERROR"}
    path = f"/v1/admin/dead-letters/{job_id}/requeue"
    again = client.post(path, **LOCAL)
    assert (again.status_code, again.json["status"], again.json["attempt"]) == (202, "queued", 0)
    assert client.get("/v1/admin/dead-letters", **LOCAL).json["deadLetters"] == []
    assert client.post(path, **LOCAL).status_code == 404


def test_dead_letters_are_paged_without_gaps_or_duplicates(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore
) -> None:
    ended = set()
    for number in range(1, 8):
        job_id = post(headers={"X-User-Id": f"user-{number}"}, file_ids=[number]).json["jobId"]
        dead(jobs, job_id)
        ended.add(job_id)
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/admin/dead-letters?limit=3{cursor}", **LOCAL).json
        seen += [letter["job"]["jobId"] for letter in page["deadLetters"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert len(seen) == 7
    assert set(seen) == ended


def test_a_paused_queue_accepts_jobs_but_does_not_start_them(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore
) -> None:
    assert client.post("/v1/admin/queue/pause", **LOCAL).json == {"paused": True}
    job_id = post(file_ids=[1]).json["jobId"]
    assert jobs.claim(job_id, "worker") is None
    assert client.get("/v1/download/queue/stats").json["paused"] is True
    assert client.post("/v1/admin/queue/resume", **LOCAL).json == {"paused": False}
    assert client.get("/v1/download/queue/stats").json["paused"] is False
    assert jobs.claim(job_id, "worker")


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize(
    "request_",
    [
        {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
        {"environ_base": {"REMOTE_ADDR": ""}},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"headers": {"Via": "1.1 proxy"}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"headers": {"Origin": "http://evil.example"}},
        {"headers": {"Origin": "null"}},
        {"base_url": "http://rebound.example:8080"},
    ],
)
def test_without_a_token_only_local_requests_are_from_an_operator(
    make_app: Callable[..., Flask], method: str, path: str, request_: dict[str, Any]
) -> None:
    client = make_app(allowed_hosts="*").test_client()
    response = client.open(path, method=method, **{**LOCAL, **request_})
    assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_with_a_token_only_its_holder_is_an_operator(
    make_app: Callable[..., Flask], method: str, path: str
) -> None:
    client = make_app(admin_token="open sesame").test_client()
    for headers in ({}, {"Authorization": "Bearer sesame"}, {"Authorization": "Bearer "}):
        assert client.open(path, method=method, headers=headers, **LOCAL).status_code == 403
    response = client.open(
        path,
        method=method,
        headers={"Authorization": "Bearer open sesame"},
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )
    # The stream needs an event loop, which this app does not have.
    assert response.status_code == {
        "/v1/admin/stream": 503,
        CALLS[1][1]: 404,
    }.get(path, 200)
