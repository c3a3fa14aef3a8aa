"""The client's methods: what they send, retry and raise."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from longhaul_client import ApiProblem, JobUnsuccessful, Longhaul, Unreachable
from tests.support.client_fakes import JOB_ID, FakeApi, FakeClock, job, job_json, problem


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


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(301, headers={"Location": "https://login.test/?ticket=s3cret"}),
        httpx.Response(307, json={}, headers={"Location": "https://login.test/?ticket=s3cret"}),
        httpx.Response(200, html="<h1>Log in</h1>"),
        httpx.Response(200, json=[]),
        httpx.Response(200),
    ],
    ids=["redirect", "redirect with JSON", "page", "list", "empty"],
)
@pytest.mark.parametrize("method", ["pause", "resume", "stats", "usage"])
def test_a_response_of_another_server_is_no_success(response: httpx.Response, method: str) -> None:
    # RFC 9110, 15.4: a redirect asks for further action, so nothing has been done.
    api = FakeApi(*[response] * 4)
    with pytest.raises(Unreachable, match=r"not from the Longhaul API\. Check the URL") as caught:
        getattr(api.client, method)()
    assert "s3cret" not in str(caught.value)
    assert ("https://login.test/" in str(caught.value)) is response.has_redirect_location


def test_204_needs_no_body() -> None:
    # RFC 9110, 15.3.5: a 204 has no content.
    FakeApi(httpx.Response(204)).client.delete_archive(JOB_ID)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.status(JOB_ID),
        lambda client: client.links(JOB_ID),
        lambda client: client.deliveries(JOB_ID),
        lambda client: client.create_link(JOB_ID)["url"],
        lambda client: client.webhook_secret()["secret"],
        lambda client: client.usage()["limits"],
        lambda client: client.inspect(JOB_ID)["job"],
        lambda client: client.act_on_all({"action": "cancel"}),
        lambda client: list(client.jobs()),
        lambda client: list(client.audit_log()),
    ],
)
def test_a_missing_member_means_another_server(call: Callable[[Longhaul], Any]) -> None:
    with pytest.raises(Unreachable, match="is missing"):
        call(FakeApi(httpx.Response(200, json={"hello": "world"})).client)


@pytest.mark.parametrize("member", ["jobId", "status", "version"])
def test_a_job_in_a_list_without_a_required_member_means_another_server(member: str) -> None:
    incomplete = {name: value for name, value in job_json().items() if name != member}
    page = httpx.Response(200, json={"jobs": [incomplete]})
    with pytest.raises(Unreachable, match=f"'{member}' is missing"):
        list(FakeApi(page).client.jobs())


def test_a_body_that_cannot_be_decoded_means_another_server() -> None:
    # RFC 9110, 8.4: the content codings that Content-Encoding lists.
    def damaged(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"no gzip")

    transport = httpx.MockTransport(damaged)
    with (
        Longhaul("http://api.test", clock=FakeClock(), transport=transport) as client,
        pytest.raises(Unreachable, match=r"cannot reach http://api\.test"),
    ):
        client.stats()


def test_the_password_of_the_url_is_sent_but_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    # RFC 9110, 4.2.4: userinfo in a URL often is a password, and does not belong into logs.
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    caplog.set_level(logging.DEBUG)
    transport = httpx.MockTransport(handle)
    with Longhaul("http://me:s3cret@api.test", transport=transport) as client:
        client.stats()
    assert seen[0].headers["Authorization"] == httpx.BasicAuth("me", "s3cret")._auth_header
    assert "api.test" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("method", "rejection"),
    [("retry", problem(409, "JOB_CONFLICT")), ("requeue", problem(404, "JOB_NOT_FOUND"))],
)
def test_a_rejection_after_a_lost_response_is_a_success_if_the_job_runs(
    method: str, rejection: httpx.Response
) -> None:
    # RFC 9110, 9.2.2: a POST is not idempotent, so its repetition may be rejected.
    api = FakeApi(httpx.ReadError("lost"), rejection, job("queued", 5))
    assert getattr(api.client, method)(JOB_ID).version == 5
    assert api.calls[-1] == f"GET /v1/download/status/{JOB_ID}"


@pytest.mark.parametrize("method", ["retry", "requeue"])
def test_a_rejection_remains_one_if_the_job_does_not_run_or_no_response_was_lost(
    method: str,
) -> None:
    rejection = problem(409, "JOB_CONFLICT")
    for api in (
        FakeApi(rejection),
        FakeApi(httpx.ReadError("lost"), rejection, job("failed", 5)),
        # The API rejected the first request itself, so no response was lost.
        FakeApi(problem(503, "SERVICE_UNAVAILABLE"), rejection, job("completed", 5)),
    ):
        with pytest.raises(ApiProblem, match="JOB_CONFLICT"):
            getattr(api.client, method)(JOB_ID)


def test_the_metadata_of_a_job_is_plain_data() -> None:
    api = FakeApi(job("queued", metadata={"order": {"number": 1}}))
    metadata = api.client.status(JOB_ID).raw["metadata"]
    with pytest.raises(KeyError):
        metadata["customer"]
    with pytest.raises(KeyError):
        metadata["order"]["customer"]
