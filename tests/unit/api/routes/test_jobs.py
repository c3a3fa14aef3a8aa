"""Watching, downloading, cancelling, and listing jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from api.dependencies import EXTENSION
from api.pagination import encode_cursor
from common.job_store.jobs import JobStore
from common.jobs.model import FileReport, JobSpec, Lease, Progress
from tests.unit.api.conftest import ARTIFACT, Worker

UNKNOWN = "00000000-0000-4000-8000-000000000000"
JSON = {"Accept": "application/json"}


@pytest.fixture
def job_id(post: Callable[..., Any]) -> str:
    return post(file_ids=[1, 2]).json["jobId"]


@pytest.fixture
def status(client: FlaskClient, job_id: str) -> Callable[..., Any]:
    def get(query: str = "", **headers: Any) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get(f"/v1/download/status/{job_id}{query}", headers=named)

    return get


def test_status_returns_the_job_with_its_version_as_etag(
    status: Callable[..., Any], job_id: str
) -> None:
    response = status()
    assert response.json["jobId"] == job_id
    assert response.headers["ETag"] == '"1"'
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ('"1"', 200),
        ("*", 200),
        ('"7", "1"', 200),
        ('"7"', 412),
        # A weak tag never matches.
        ('W/"1"', 412),
        ("nonsense", 412),
    ],
)
def test_if_match_is_checked(status: Callable[..., Any], condition: str, code: int) -> None:
    """RFC 9110, 13.1.1. It precedes If-None-Match (13.2.2)."""
    assert status(If_Match=condition).status_code == code
    both = status(If_Match=condition, If_None_Match='"1"')
    assert both.status_code == (304 if code == 200 else 412)


def test_a_job_id_is_case_insensitive(client: FlaskClient, job_id: str) -> None:
    assert client.get(f"/v1/download/status/{job_id.upper()}").json["jobId"] == job_id


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', '"0", "1"', '"x",W/"1"', "*"])
def test_status_returns_304_if_the_client_has_the_version(
    status: Callable[..., Any], tag: str
) -> None:
    response = status(If_None_Match=tag)
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == '"1"'


@pytest.mark.parametrize("tag", ['"0"', "", "1", 'W/"M", ""', '"²"', f'"{"9" * 5000}"'])
def test_status_returns_the_job_for_any_other_etag(status: Callable[..., Any], tag: str) -> None:
    assert status(If_None_Match=tag).status_code == 200
    assert status("?wait=1", If_None_Match=tag).status_code == 200


def test_status_returns_a_new_link_before_the_one_that_the_client_has_expires(
    make_app: Callable[..., Flask], post: Callable[..., Any], worker: Worker
) -> None:
    """RFC 9110, 8.8.1: the tag changes whenever the response changes in a way that matters."""
    app = make_app(link_ttl=60)
    presenter = app.extensions[EXTENSION].presenter
    client, job_id = app.test_client(), post().json["jobId"]
    job = worker.complete(job_id)
    path = f"/v1/download/status/{job_id}"
    presenter._clock = lambda: 1_790_000_010_000
    first = client.get(path)
    assert first.headers["ETag"].startswith(f'"{job.version}-')
    headers = {"If-None-Match": f"W/{first.headers['ETag']}"}
    assert client.get(path, headers=headers).status_code == 304
    for path_with_query in (path, f"{path}?wait=5"):
        presenter._clock = lambda: 1_790_000_045_000
        again = client.get(path_with_query, headers=headers)
        assert (again.status_code, again.json["downloadUrl"] is not None) == (200, True)
        assert again.headers["ETag"] != first.headers["ETag"]
    # A tag of the version alone, as earlier releases sent it, says nothing about the link.
    assert client.get(path, headers={"If-None-Match": f'"{job.version}"'}).status_code == 200


def test_a_long_poll_accepts_a_weak_etag(status: Callable[..., Any]) -> None:
    started = time.monotonic()
    assert status("?wait=30", If_None_Match='W/"0"').json["version"] == 1
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "path", [f"status/{UNKNOWN}", "status/x", f"status/{UNKNOWN}/files", UNKNOWN, "x"]
)
def test_an_unknown_job_is_not_found(client: FlaskClient, path: str) -> None:
    response = client.get(f"/v1/download/{path}")
    assert (response.status_code, response.json["code"]) == (404, "JOB_NOT_FOUND")


def test_a_finished_job_has_no_retry_after(
    status: Callable[..., Any], job_id: str, worker: Worker
) -> None:
    worker.complete(job_id)
    response = status()
    assert (response.status_code, response.json["status"]) == (200, "completed")
    assert "Retry-After" not in response.headers


def test_a_cancelled_job_is_gone_but_still_returned(
    client: FlaskClient, status: Callable[..., Any], job_id: str
) -> None:
    client.delete(f"/v1/download/{job_id}")
    response = status(If_None_Match='"2"')
    assert response.status_code == 410
    assert (response.mimetype, response.json["status"]) == ("application/json", "cancelled")


def test_an_expired_job_is_gone_but_still_returned(
    status: Callable[..., Any], job_id: str, worker: Worker, redis: Redis, client: FlaskClient
) -> None:
    worker.complete(job_id)
    redis.hset(status_key(redis, job_id), "status", "expired")
    response = status()
    assert (response.status_code, response.json["status"]) == (410, "expired")
    assert response.json["downloadUrl"] is None
    result = client.get(f"/v1/download/{job_id}")
    assert (result.status_code, result.json["code"]) == (410, "JOB_EXPIRED")


def status_key(redis: Redis, job_id: str) -> str:
    return next(redis.scan_iter(f"job:status:*:{job_id}"))


def test_a_long_poll_returns_as_soon_as_the_job_changes(
    status: Callable[..., Any], job_id: str, jobs: JobStore
) -> None:
    timer = threading.Timer(0.2, jobs.cancel, [job_id])
    timer.start()
    started = time.monotonic()
    response = status("?wait=20&since=1")
    assert time.monotonic() - started < 5
    assert response.json["version"] == 2


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("?wait=1&since=1", {}, 200),
        ("?wait=1", {}, 200),
        ("?wait=1", {"If_None_Match": '"1"'}, 304),
    ],
)
def test_a_long_poll_without_a_change_returns_after_the_wait(
    status: Callable[..., Any], query: str, headers: dict[str, str], expected: int
) -> None:
    started = time.monotonic()
    assert status(query, **headers).status_code == expected
    assert 1 <= time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?wait=30&since=0", {}), ("?wait=30", {"If_None_Match": '"0"'})],
)
def test_a_long_poll_for_an_old_version_returns_immediately(
    status: Callable[..., Any], query: str, headers: dict[str, str]
) -> None:
    started = time.monotonic()
    assert status(query, **headers).status_code == 200
    assert time.monotonic() - started < 1


def test_a_long_poll_for_a_finished_job_returns_immediately(
    status: Callable[..., Any], job_id: str, worker: Worker
) -> None:
    version = worker.complete(job_id).version
    started = time.monotonic()
    assert status(f"?wait=30&since={version}").json["status"] == "completed"
    assert time.monotonic() - started < 1


def advance(jobs: JobStore, lease: Lease, *percents: int) -> threading.Thread:
    """Report progress in the background, a little apart."""

    def report() -> None:
        for percent in percents:
            time.sleep(0.1)
            jobs.heartbeat(lease, {"progress": percent})

    thread = threading.Thread(target=report)
    thread.start()
    return thread


def test_a_long_poll_for_progress_ignores_smaller_changes(
    status: Callable[..., Any], job_id: str, jobs: JobStore, worker: Worker
) -> None:
    thread = advance(jobs, worker.claim(job_id), 10, 19, 25, 30)
    response = status("?wait=20&minProgress=20&fields=progress")
    assert response.json["progress"] in (25, 30)
    thread.join()
    # Reached already: the response is immediate, unless the client has this version.
    assert status("?wait=20&minProgress=30").json["progress"] == 30
    etag = status().headers["ETag"]
    assert status("?wait=1&minProgress=30", If_None_Match=etag).status_code == 304


def test_a_long_poll_until_finished_ignores_progress(
    status: Callable[..., Any], job_id: str, jobs: JobStore, worker: Worker
) -> None:
    lease = worker.claim(job_id)
    thread = advance(jobs, lease, 50, 100)
    started = time.monotonic()
    assert status("?wait=1&until=finished&since=0").json["status"] == "processing"
    assert time.monotonic() - started >= 1
    thread.join()
    timer = threading.Timer(0.2, jobs.complete, [lease, ARTIFACT, Progress()])
    timer.start()
    assert status("?wait=20&until=finished").json["status"] == "completed"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("query", ["minProgress=90", "until=finished"])
def test_the_end_of_a_job_ends_every_long_poll(
    status: Callable[..., Any], job_id: str, jobs: JobStore, query: str
) -> None:
    timer = threading.Timer(0.2, jobs.cancel, [job_id])
    timer.start()
    response = status(f"?wait=20&{query}&fields=status")
    assert (response.status_code, response.json) == (410, {"status": "cancelled"})


def test_fields_select_members_of_the_job(status: Callable[..., Any]) -> None:
    response = status("?fields=status,progress")
    assert response.data == b'{"status":"queued","progress":0}'
    assert response.headers["ETag"] == status().headers["ETag"]
    assert status("?fields=status", If_None_Match='"1"').status_code == 304


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?fields=status,nonsense", "fields"),
        ("?fields=", "fields"),
        ("?fields=status&fields=progress", "fields"),
        ("?until=never", "until"),
        ("?minProgress=101", "minProgress"),
        ("?minProgress=-1", "minProgress"),
    ],
)
def test_an_invalid_parameter_is_named(
    status: Callable[..., Any], query: str, parameter: str
) -> None:
    response = status(query)
    assert (response.status_code, list(response.json["errors"])) == (400, [parameter])


@pytest.mark.parametrize("query", ["?wait=61", "?wait=-1", "?wait=x", "?since=1&since=2"])
def test_an_invalid_wait_is_rejected(status: Callable[..., Any], query: str) -> None:
    assert status(query).json["code"] == "VALIDATION_ERROR"


def test_a_query_parameter_without_a_name_is_rejected(status: Callable[..., Any]) -> None:
    response = status("?since=0&=1")
    assert (response.status_code, response.json["errors"]) == (
        400,
        {"query": ["A parameter has no name."]},
    )


def test_unknown_query_parameters_are_ignored(status: Callable[..., Any]) -> None:
    assert status("?_=1700000000").status_code == 200


def test_files_are_listed_in_pages_in_the_order_of_the_request(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore, worker: Worker
) -> None:
    job_id = post(file_ids=[5, 3, 4]).json["jobId"]
    reports = [
        FileReport(file_id=5, state="done", size=9, name="five.txt"),
        FileReport(file_id=3, state="missing", error_code="FILE_NOT_FOUND"),
    ]
    jobs.heartbeat(worker.claim(job_id), {}, reports)
    path = f"/v1/download/status/{job_id}/files"
    first = client.get(f"{path}?limit=2").json
    assert first["totalFiles"] == 3
    assert first["files"] == [
        {
            "file_id": 5,
            "state": "done",
            "size": 9,
            "fileName": "five.txt",
            "path": "five.txt",
            "error": None,
            "errorCode": None,
        },
        {
            "file_id": 3,
            "state": "missing",
            "size": None,
            "fileName": None,
            "path": None,
            "error": "A requested file does not exist.",
            "errorCode": "FILE_NOT_FOUND",
        },
    ]
    # Only these are read from the job store.
    redis = client.application.extensions[EXTENSION].queries._client
    with patch.object(redis, "hmget", wraps=redis.hmget) as hmget:
        second = client.get(f"{path}?limit=2&cursor={first['nextCursor']}").json
    assert ["4"] in [call.args[1] for call in hmget.call_args_list]
    assert [(file["file_id"], file["state"]) for file in second["files"]] == [(4, "pending")]
    assert second["nextCursor"] is None


def test_a_page_after_the_last_file_is_empty(client: FlaskClient, job_id: str) -> None:
    page = client.get(f"/v1/download/status/{job_id}/files?cursor={encode_cursor(100)}")
    assert (page.status_code, page.json["files"]) == (200, [])


@pytest.mark.parametrize("path", ["/v1/download/jobs", "/v1/download/status/{}/files"])
def test_a_list_counts_as_one_request_per_ten_entries(
    client: FlaskClient, jobs: JobStore, path: str
) -> None:
    """The entries of the longest list take 30 ms, a hundred times as long as one."""
    for first in range(1, 26):
        job_id = jobs.create("alice", JobSpec(file_ids=tuple(range(first, first + 25)))).job.id
        jobs.cancel(job_id)
    responses = [
        client.get(f"{path.format(job_id)}?limit={limit}", headers={"X-User-Id": "alice"})
        for limit in (1, 10, 11, 20, 100)
    ]
    remaining = [int(response.headers["RateLimit-Remaining"]) for response in responses]
    assert [remaining[0] - each for each in remaining] == [0, 1, 3, 5, 8]


def test_result_redirects_to_a_newly_signed_url(
    client: FlaskClient, job_id: str, worker: Worker
) -> None:
    worker.complete(job_id)
    response = client.get(f"/v1/download/{job_id}")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("https://storage.example/archives/ab/cd.zip?")
    assert response.headers["Cache-Control"] == "no-store"


def test_result_is_json_if_the_client_accepts_json(
    client: FlaskClient, job_id: str, worker: Worker
) -> None:
    worker.complete(job_id)
    response = client.get(f"/v1/download/{job_id}", headers=JSON)
    assert response.status_code == 200
    assert set(response.json) == {
        "downloadUrl",
        "expiresAt",
        "fileName",
        "fileSize",
        "contentType",
    }


@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", ""])
def test_result_redirects_browsers_and_download_tools(
    client: FlaskClient, job_id: str, worker: Worker, accept: str
) -> None:
    worker.complete(job_id)
    response = client.get(f"/v1/download/{job_id}", headers={"Accept": accept})
    assert response.status_code == 302


def test_result_of_an_unfinished_job_is_not_ready(client: FlaskClient, job_id: str) -> None:
    response = client.get(f"/v1/download/{job_id}")
    assert (response.status_code, response.json["code"]) == (404, "JOB_NOT_READY")
    assert response.json["job"]["jobId"] == job_id
    assert response.json["retryable"] is True
    assert response.headers["Retry-After"] == "2"


def test_result_of_a_failed_job_is_a_conflict(
    client: FlaskClient, job_id: str, worker: Worker
) -> None:
    worker.fail(job_id)
    response = client.get(f"/v1/download/{job_id}")
    assert (response.status_code, response.json["code"]) == (409, "JOB_FAILED")
    assert response.json["detail"] == "File 1 does not exist"


def test_result_of_a_cancelled_job_is_gone(client: FlaskClient, job_id: str) -> None:
    client.delete(f"/v1/download/{job_id}")
    response = client.get(f"/v1/download/{job_id}")
    assert (response.status_code, response.json["code"]) == (410, "JOB_CANCELLED")


def test_both_cancel_calls_are_idempotent(client: FlaskClient, job_id: str) -> None:
    expected = {"jobId": job_id, "status": "cancelled", "message": "The download was cancelled."}
    for response in (
        client.delete(f"/v1/download/{job_id}"),
        client.delete(f"/v1/download/{job_id}"),
        client.post(f"/v1/download/cancel/{job_id}"),
    ):
        assert (response.status_code, response.json) == (200, expected)


def test_a_finished_job_cannot_be_cancelled(
    client: FlaskClient, job_id: str, worker: Worker
) -> None:
    worker.complete(job_id)
    response = client.post(f"/v1/download/cancel/{job_id}")
    assert (response.status_code, response.json["code"]) == (409, "JOB_CONFLICT")


def test_jobs_lists_the_users_own_jobs_newest_first(
    client: FlaskClient, post: Callable[..., Any]
) -> None:
    mine = [post({"X-User-Id": "ann"}, file_id=number).json["jobId"] for number in range(1, 6)]
    post({"X-User-Id": "bob"}, file_id=1)
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get(
            "/v1/download/jobs?limit=2" + (f"&cursor={cursor}" if cursor else ""),
            headers={"X-User-Id": "ann"},
        ).json
        assert len(page["jobs"]) <= 2
        found += [job["jobId"] for job in page["jobs"]]
        cursor = page["nextCursor"]
    assert sorted(found) == sorted(mine)
    created = [client.get(f"/v1/download/status/{job_id}").json["createdAt"] for job_id in found]
    assert created == sorted(created, reverse=True)


def test_jobs_can_be_filtered_by_state(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    done, waiting = (post(file_id=number).json["jobId"] for number in (1, 2))
    worker.complete(done)
    for state, expected in (("completed", [done]), ("queued", [waiting]), ("failed", [])):
        page = client.get(f"/v1/download/jobs?status={state}").json
        assert [job["jobId"] for job in page["jobs"]] == expected


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "status=lost", "cursor=%21", "cursor=MQ"),
        *(f"cursor={encode_cursor(position)}" for position in ([10**15, UNKNOWN], [1, "x"])),
    ],
)
def test_invalid_page_parameters_are_rejected(client: FlaskClient, query: str) -> None:
    assert client.get(f"/v1/download/jobs?{query}").json["code"] == "VALIDATION_ERROR"
