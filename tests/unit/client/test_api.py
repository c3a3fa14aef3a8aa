"""The client's methods: what they send, retry and raise."""

from __future__ import annotations

import json

import httpx
import pytest

from longhaul_client import ApiProblem, JobUnsuccessful, Longhaul, Unreachable
from tests.support.client_fakes import JOB_ID, FakeApi, job, job_json, problem


def test_start_sends_only_the_given_members() -> None:
    api = FakeApi(job("queued"))
    api.client.start([10001, 10002], priority="high")
    assert api.calls == ["POST /v1/download/initiate"]
    assert json.loads(api.requests[0].content) == {"file_ids": [10001, 10002], "priority": "high"}


def test_start_is_retried_with_the_same_idempotency_key_after_a_lost_response() -> None:
    api = FakeApi(httpx.ReadError("gone"), job("queued"))
    assert api.client.start([1]).status == "queued"
    first, second = (request.headers["Idempotency-Key"] for request in api.requests)
    assert first == second


def test_token_and_user_are_sent() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return job()

    transport = httpx.MockTransport(handle)
    with Longhaul("http://api.test", token="t0ken", user="ada", transport=transport) as client:
        client.status(JOB_ID)
    assert seen[0].headers["Authorization"] == "Bearer t0ken"
    assert seen[0].headers["X-User-Id"] == "ada"


def test_an_api_problem_has_status_and_code() -> None:
    api = FakeApi(problem(404, "JOB_NOT_FOUND"))
    with pytest.raises(ApiProblem, match="because JOB_NOT_FOUND") as caught:
        api.client.status(JOB_ID)
    assert (caught.value.status, caught.value.code) == (404, "JOB_NOT_FOUND")


def test_a_problem_names_the_invalid_fields() -> None:
    rejected = problem(400, "VALIDATION_ERROR")
    errors = {"file_ids": ["Must be a list of 1 to 1000 file IDs."], "priority": ["Unknown."]}
    body = {**rejected.json(), "detail": "Some fields are invalid.", "errors": errors}
    api = FakeApi(httpx.Response(400, json=body))
    with pytest.raises(ApiProblem) as caught:
        api.client.start([])
    assert str(caught.value) == (
        "Some fields are invalid. file_ids: Must be a list of 1 to 1000 file IDs. "
        "priority: Unknown."
    )


def test_a_busy_server_is_retried_after_retry_after() -> None:
    api = FakeApi(problem(429, "RATE_LIMIT_EXCEEDED", **{"Retry-After": "3"}), job())
    api.client.status(JOB_ID)
    assert api.clock.pauses == [3.0]


def test_a_long_retry_after_is_raised_instead_of_waited_for() -> None:
    api = FakeApi(problem(429, "TOO_MANY_ACTIVE_JOBS", **{"Retry-After": "60"}))
    with pytest.raises(ApiProblem, match="TOO_MANY_ACTIVE_JOBS"):
        api.client.start([1])


def test_an_unreachable_server_raises_after_four_attempts() -> None:
    api = FakeApi(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(Unreachable, match="refused"):
        api.client.status(JOB_ID)
    assert len(api.requests) == 4
    assert api.clock.pauses == sorted(api.clock.pauses)


def test_an_error_page_of_a_proxy_counts_as_unreachable() -> None:
    api = FakeApi(*[httpx.Response(502, html="<h1>Bad Gateway</h1>")] * 4)
    with pytest.raises(Unreachable, match="502"):
        api.client.status(JOB_ID)


def test_status_returns_a_cancelled_job() -> None:
    api = FakeApi(httpx.Response(410, json=job_json("cancelled", 4)))
    assert api.client.status(JOB_ID).status == "cancelled"


def test_jobs_are_read_page_by_page_up_to_the_limit() -> None:
    api = FakeApi(
        httpx.Response(200, json={"jobs": [job_json()] * 2, "nextCursor": "abc"}),
        httpx.Response(200, json={"jobs": [job_json()], "nextCursor": "def"}),
    )
    assert len(list(api.client.jobs(status="failed", limit=3))) == 3
    assert api.calls == [
        "GET /v1/download/jobs?status=failed&limit=3",
        "GET /v1/download/jobs?status=failed&cursor=abc&limit=1",
    ]


def test_no_request_exceeds_the_maximum_page_size() -> None:
    api = FakeApi(
        httpx.Response(200, json={"jobs": [job_json()] * 100, "nextCursor": "abc"}),
        httpx.Response(200, json={"jobs": [], "nextCursor": None}),
    )
    assert len(list(api.client.jobs(limit=150))) == 100
    assert [request.url.params["limit"] for request in api.requests] == ["100", "50"]


def test_wait_raises_when_the_job_fails() -> None:
    failed = job("failed", 5, error="no such file", errorCode="FILE_NOT_FOUND")
    api = FakeApi(httpx.Response(404, text="no streams here"), failed)
    with pytest.raises(JobUnsuccessful, match=r"no such file \(FILE_NOT_FOUND\)"):
        api.client.wait(JOB_ID)


def test_unknown_members_of_a_job_are_kept_in_raw() -> None:
    api = FakeApi(job(shinyNewMember=1))
    assert api.client.status(JOB_ID).raw["shinyNewMember"] == 1


def test_start_sends_files_with_their_paths() -> None:
    api = FakeApi(job("queued"))
    api.client.start(files=[(5, "a/b.pdf"), (5, "copies/"), (3, None)], manifest=True)
    assert json.loads(api.requests[0].content) == {
        "files": [{"file_id": 5, "path": "a/b.pdf"}, {"file_id": 5, "path": "copies/"},
                  {"file_id": 3}],
        "manifest": True,
    }  # fmt: skip
