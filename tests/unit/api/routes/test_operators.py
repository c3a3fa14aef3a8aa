"""Calls for operators, and who is an operator."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.auth import operator_page
from api.shared_result import MAX_AGE
from common.job_store.jobs import JobStore
from common.jobs.model import Failure
from tests.unit.api.conftest import OPERATOR

BROKEN = Failure(code="NETWORK_ERROR", message="The connection was reset", retryable=True)
CALLS = (
    ("GET", "/v1/admin/dead-letters"),
    ("POST", "/v1/admin/dead-letters/00000000-0000-4000-8000-000000000000/requeue"),
    ("POST", "/v1/admin/queue/pause"),
    ("POST", "/v1/admin/queue/resume"),
    ("GET", "/v1/admin/workers"),
    ("GET", "/v1/admin/overview"),
    ("GET", "/v1/admin/stream"),
    ("GET", "/v1/admin/usage.csv"),
    ("DELETE", "/v1/admin/users/alice"),
    ("GET", "/metrics"),
)


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
    response = client.get("/v1/admin/dead-letters", headers=OPERATOR).json
    (letter,) = response["deadLetters"]
    assert response["nextCursor"] is None
    assert (letter["job"]["jobId"], letter["userId"]) == (job_id, "anonymous")
    assert [note["worker"] for note in letter["attempts"]] == ["worker-0", "worker-1"]
    assert {note["errorCode"] for note in letter["attempts"]} == {"NETWORK_ERROR"}
    path = f"/v1/admin/dead-letters/{job_id}/requeue"
    again = client.post(path, headers=OPERATOR)
    assert (again.status_code, again.json["status"], again.json["attempt"]) == (202, "queued", 0)
    assert client.get("/v1/admin/dead-letters", headers=OPERATOR).json["deadLetters"] == []
    assert client.post(path, headers=OPERATOR).status_code == 404


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
        page = client.get(f"/v1/admin/dead-letters?limit=3{cursor}", headers=OPERATOR).json
        seen += [letter["job"]["jobId"] for letter in page["deadLetters"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert len(seen) == 7
    assert set(seen) == ended


def test_a_paused_queue_accepts_jobs_but_does_not_start_them(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore
) -> None:
    assert client.post("/v1/admin/queue/pause", headers=OPERATOR).json == {"paused": True}
    job_id = post(file_ids=[1]).json["jobId"]
    assert jobs.claim(job_id, "worker") is None
    assert client.get("/v1/download/queue/stats").json["paused"] is True
    assert client.post("/v1/admin/queue/resume", headers=OPERATOR).json == {"paused": False}
    time.sleep(MAX_AGE)
    assert client.get("/v1/download/queue/stats").json["paused"] is False
    assert jobs.claim(job_id, "worker")


#: Requests that prove nothing.
NOT_FROM_OPERATORS: tuple[dict[str, Any], ...] = (
    {"environ_base": {"REMOTE_ADDR": "127.0.0.1"}},
    {"environ_base": {"REMOTE_ADDR": "::1"}},
    {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
    {"base_url": "http://localhost:8080"},
    {"headers": {"X-Forwarded-For": "127.0.0.1"}},
    {"headers": {"X-User-Id": "operator"}},
    {"headers": {"Authorization": "Bearer "}},
    {"headers": {"Authorization": "Bearer"}},
    {"headers": {"Authorization": "Bearer open"}},
    {"headers": {"Authorization": "Basic open sesame"}},
    {"headers": {"Authorization": "Bearer open sesam\xe9"}},
    {"headers": {"Cookie": "token=open sesame"}},
    {"query_string": {"token": "open sesame"}},
)


@pytest.mark.parametrize("token", ["open sesame", ""])
def test_only_the_token_makes_an_operator_also_of_local_requests(
    make_app: Callable[..., Flask], token: str
) -> None:
    client = make_app(admin_token=token).test_client()
    for (method, path), request in itertools.product(CALLS, NOT_FROM_OPERATORS):
        response = client.open(path, method=method, **request)
        assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN"), (path, request)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_the_holder_of_the_token_is_an_operator(
    client: FlaskClient, method: str, path: str
) -> None:
    response = client.open(
        path, method=method, headers=OPERATOR, environ_base={"REMOTE_ADDR": "192.0.2.7"}
    )
    # The stream needs an event loop, which this app does not have.
    assert response.status_code == {
        "/v1/admin/stream": 503,
        "/v1/admin/usage.csv": 400,  # Without the days.
        CALLS[1][1]: 404,
    }.get(path, 200)


def test_the_operator_page_gets_the_token_in_the_fragment() -> None:
    url = urlsplit(operator_page.link("https://downloads.example", "a&b#c d"))
    assert (url.path, url.query) == ("/operator", "")
    assert parse_qs(url.fragment, strict_parsing=True) == {"token": ["a&b#c d"]}
