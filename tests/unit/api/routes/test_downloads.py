"""Creating jobs."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from api.limits import queue_limit
from common.job_store.queries import JobQueries
from tests.unit.api.conftest import ARTIFACT, FakeStorage, Worker

INITIATE = "/v1/download/initiate"


def test_initiate_creates_a_queued_job(post: Callable[..., Any]) -> None:
    response = post(file_ids=[3, 1, 3], metadata={"order": 7})
    assert response.status_code == 202
    job = response.json
    assert (job["status"], job["version"]) == ("queued", 1)
    assert job["totalFileIds"] == job["totalFiles"] == 2
    assert job["metadata"] == {"order": 7}
    assert job["deduplicated"] is False
    assert uuid.UUID(job["jobId"])


def test_the_response_contains_the_urls_of_the_job(post: Callable[..., Any]) -> None:
    response = post()
    job = response.json
    base = "http://localhost/v1/download"
    assert job["statusUrl"] == f"{base}/status/{job['jobId']}" == response.headers["Location"]
    assert job["resultUrl"].startswith(f"{base}/{job['jobId']}?ticket=")
    assert job["cancelUrl"] == f"{base}/cancel/{job['jobId']}"
    assert job["subscribeUrl"].startswith(f"{base}/subscribe/{job['jobId']}")
    assert job["webSocketUrl"].startswith("ws://localhost/v1/download/subscribe/")
    assert job["pollingInterval"] == 2000
    assert response.headers["Retry-After"] == "2"


def test_urls_start_with_the_public_url_if_it_is_set(make_app: Callable[..., Flask]) -> None:
    client = make_app(public_url="https://files.example/").test_client()
    job = client.post(INITIATE, json={"file_id": 1}).json
    assert job["statusUrl"].startswith("https://files.example/v1/")
    assert job["webSocketUrl"].startswith("wss://files.example/v1/")


def test_the_order_of_the_files_is_kept(post: Callable[..., Any], queries: JobQueries) -> None:
    job_id = post(file_ids=[9, 2, 9, 5]).json["jobId"]
    assert queries.spec(job_id).file_ids == (9, 2, 5)


def test_async_is_an_alias_of_initiate(client: FlaskClient) -> None:
    assert client.post("/v1/download/async", json={"file_id": 1}).status_code == 202


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "file_ids"),
        ({"file_ids": [1], "file_id": 2}, "file_ids"),
        ({"file_ids": []}, "file_ids"),
        ({"file_ids": [0]}, "file_ids"),
        ({"file_ids": [100_000_001]}, "file_ids"),
        ({"file_ids": [True]}, "file_ids"),
        ({"file_ids": ["1"]}, "file_ids"),
        ({"file_ids": [1.5]}, "file_ids"),
        ({"file_ids": list(range(1, 1002))}, "file_ids"),
        ({"file_ids": {"1": 1}}, "file_ids"),
        ({"file_id": None}, "file_id"),
        ({"file_id": 1, "priority": "urgent"}, "priority"),
        ({"file_id": 1, "onMissing": "ask"}, "onMissing"),
        ({"file_id": 1, "fileName": "../x.zip"}, "fileName"),
        ({"file_id": 1, "fileName": ".."}, "fileName"),
        # A pattern with two places for one character would take half a minute.
        ({"file_id": 1, "fileName": "a" * 65_000 + "/"}, "fileName"),
        ({"file_id": 1, "fileName": "a\u0000b"}, "fileName"),
        *(
            ({"file_id": 1, "fileName": f"a{character}b.zip"}, "fileName")
            for character in "\n\r\x85\u2028\u2029\u202a\u202e\u2066\u2069\x9b"
        ),
        *(
            ({"file_id": 1, "fileName": f"a.zip{end}"}, "fileName")
            for end in ("\n", "\r\n", "\u2029", "\u202c")
        ),
        ({"file_id": 1, "metadata": [1]}, "metadata"),
        *(
            ({"file_id": 1, "metadata": metadata}, "metadata")
            for number in (2**64, -(2**63) - 1, 10**19 * 2, -(10**300))
            for metadata in (
                {"n": number},
                {"n": {"deep": [1, [{"er": number}]]}},
                {"n": [0.5, "x", number]},
            )
        ),
        ({"file_id": 1, "metadata": {"x": "y" * 4096}}, "metadata"),
        ({"file_id": 1, "colour": "red"}, "colour"),
        ([1], "body"),
    ],
)
def test_validation_errors_are_reported_by_field(
    client: FlaskClient, body: Any, member: str
) -> None:
    # Not json=, because orjson does not write large integers.
    response = client.post(INITIATE, data=json.dumps(body), content_type="application/json")
    assert response.status_code == 400
    assert response.json["code"] == "VALIDATION_ERROR"
    assert list(response.json["errors"]) == [member]
    assert all(response.json["errors"][member])


def test_many_unknown_fields_are_reported_together(client: FlaskClient) -> None:
    """Messages about each of them take 30 ms and are three times as large as the request."""
    unknown = dict.fromkeys(map(str, range(4_000)), 0)
    response = client.post(INITIATE, json={"file_id": 1, **unknown})
    assert response.status_code == 400
    assert response.json["code"] == "VALIDATION_ERROR"
    assert list(response.json["errors"]) == ["body"]
    assert "file_ids" in response.json["errors"]["body"][0]
    assert len(response.data) < 1_000


@pytest.mark.parametrize(
    "values", [[0] * 30_000, [[]] * 20_000, dict.fromkeys(map(str, range(4_000)))]
)
def test_metadata_with_too_many_values_is_rejected_without_reading_all_of_them(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, values: Any
) -> None:
    monkeypatch.setattr("api.schemas.fields.orjson", None)
    response = client.post(INITIATE, json={"file_id": 1, "metadata": {"values": values}})
    assert response.status_code == 400
    assert "4096 bytes" in response.json["errors"]["metadata"][0]


def test_metadata_may_have_as_many_values_as_its_size_has_room_for(
    post: Callable[..., Any],
) -> None:
    assert post(file_id=1, metadata={"": [0] * 2_045}).status_code == 202
    assert post(file_id=1, metadata={"": [0] * 2_046}).status_code == 400


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-" + "9" * 5000, "1e400"])
def test_numbers_that_no_float_can_hold_are_rejected(client: FlaskClient, number: str) -> None:
    body = f'{{"file_id": 1, "metadata": {{"n": [{number}]}}}}'
    response = client.post(INITIATE, data=body, content_type="application/json")
    assert response.status_code == 400


def test_metadata_comes_back_as_it_was_sent(client: FlaskClient) -> None:
    """RFC 8259, 6: integers of 64 bits are exchanged exactly, and no number changes its type."""
    metadata = (
        f'{{"max":{2**64 - 1},"min":{-(2**63)},"float":1e+19,"text":"{10**30}",'
        '"list":[123456789012345678,0.1],"object":{"x":-9223372036854775808}}'
    )
    response = client.post(
        "/v1/download/initiate",
        data=f'{{"file_id": 1, "metadata": {metadata}}}'.encode(),
        content_type="application/json",
    )
    assert response.status_code == 202
    assert f'"metadata":{metadata}' in response.text
    status = client.get(f"/v1/download/status/{response.json['jobId']}")
    assert f'"metadata":{metadata}' in status.text


def test_file_names_in_any_script_are_accepted(post: Callable[..., Any]) -> None:
    for name in ("Übersicht.zip", "דוח\u200f.zip", "تقرير.zip", "👩\u200d🚀.zip", "क्\u200dष.zip"):
        assert post(file_id=1, fileName=name).status_code == 202


def test_metadata_that_is_nested_too_deeply_is_rejected(client: FlaskClient) -> None:
    nested = '{"m":' * 400 + "1" + "}" * 400
    body = f'{{"file_id": 1, "metadata": {nested}}}'
    response = client.post(INITIATE, data=body, content_type="application/json")
    assert list(response.json["errors"]) == ["metadata"]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/hook",
        "http://127.0.0.1/hook",
        "http://[::1]/hook",
        "http://10.0.0.8/hook",
        "http://169.254.169.254/latest",
        "http://2130706433/hook",
        "http://0x7f.1/hook",
        "http://printer.local/hook",
        "http://intranet/hook",
        "ftp://example.com/hook",
        "https://user:secret@example.com/hook",
        "https://example.com:99999/hook",
        "not a url",
    ],
)
def test_a_callback_to_a_private_address_is_rejected(client: FlaskClient, url: str) -> None:
    response = client.post(INITIATE, json={"file_id": 1, "callbackUrl": url})
    assert list(response.json["errors"]) == ["callbackUrl"]


def test_a_callback_to_a_public_host_is_accepted(client: FlaskClient) -> None:
    body = {"file_id": 1, "callbackUrl": "https://hooks.example.com:8443/x?y=1"}
    assert client.post(INITIATE, json=body).status_code == 202


def test_the_same_idempotency_key_returns_the_first_job(post: Callable[..., Any]) -> None:
    first = post({"Idempotency-Key": "order 7"})
    second = post({"Idempotency-Key": "order 7"})
    assert second.json["jobId"] == first.json["jobId"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"


def test_an_idempotency_key_cannot_be_used_for_another_request(post: Callable[..., Any]) -> None:
    post({"Idempotency-Key": "a"}, file_id=1)
    response = post({"Idempotency-Key": "a"}, file_id=2)
    assert (response.status_code, response.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_idempotency_keys_are_separate_for_each_user(post: Callable[..., Any]) -> None:
    first = post({"Idempotency-Key": "a", "X-User-Id": "ann"})
    second = post({"Idempotency-Key": "a", "X-User-Id": "bob"})
    assert first.json["jobId"] != second.json["jobId"]


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
def test_an_invalid_idempotency_key_is_rejected(post: Callable[..., Any], key: str) -> None:
    assert post({"Idempotency-Key": key}).json["code"] == "VALIDATION_ERROR"


def test_ten_identical_requests_create_one_job(post: Callable[..., Any]) -> None:
    responses = [post(file_ids=[1, 2]) for _ in range(10)]
    assert len({response.json["jobId"] for response in responses}) == 1
    assert [response.json["deduplicated"] for response in responses] == [False] + [True] * 9
    assert responses[0].json["message"] == "The download has been queued."
    assert responses[9].json["message"] == "An identical request is already running."


def test_a_sixth_active_job_is_rejected(post: Callable[..., Any]) -> None:
    for number in range(1, 6):
        assert post(file_id=number).status_code == 202
    response = post(file_id=6)
    assert (response.status_code, response.json["code"]) == (429, "TOO_MANY_ACTIVE_JOBS")
    assert response.json["detail"] == (
        "You already have 5 downloads in progress. Wait for one or cancel one."
    )
    assert int(response.headers["Retry-After"]) >= 1
    assert post({"X-User-Id": "somebody-else"}, file_id=6).status_code == 202


def test_a_full_queue_rejects_jobs_with_retry_after(make_app: Callable[..., Flask]) -> None:
    client = make_app(queue_max=2).test_client()
    users = [{"X-User-Id": name} for name in ("a", "b", "c")]
    responses = [client.post(INITIATE, json={"file_id": 1}, headers=user) for user in users]
    assert [response.status_code for response in responses] == [202, 202, 503]
    assert responses[2].json["code"] == "QUEUE_FULL"
    assert 1 <= int(responses[2].headers["Retry-After"]) <= queue_limit.MAX_RETRY_AFTER


def test_prefer_wait_returns_200_if_the_job_finishes_in_time(
    client: FlaskClient, worker: Worker, queries: JobQueries
) -> None:
    def work() -> None:
        job_ids: list[str] = []
        while not job_ids:
            job_ids = [
                job.id for job in queries.page("anonymous", before=None, limit=9, status=None)[0]
            ]
        worker.complete(job_ids[0])

    thread = threading.Thread(target=work)
    thread.start()
    response = client.post(INITIATE, json={"file_id": 1}, headers={"Prefer": "wait=10"})
    thread.join()
    assert response.status_code == 200
    assert response.json["status"] == "completed"
    assert response.json["downloadUrl"].startswith("https://storage.example/archives/ab/cd.zip")
    assert response.headers["Preference-Applied"] == "wait=10"
    assert "Retry-After" not in response.headers


def test_prefer_wait_returns_202_if_the_job_is_still_running(client: FlaskClient) -> None:
    response = client.post(
        INITIATE, json={"file_id": 1}, headers={"Prefer": "respond-async, wait=1"}
    )
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=1"


def test_the_wait_that_a_client_asks_for_is_not_part_of_the_duration(client: FlaskClient) -> None:
    labels = {"method": "POST", "route": INITIATE, "status": "202"}

    def total() -> float:
        return REGISTRY.get_sample_value("longhaul_http_request_seconds_sum", labels) or 0.0

    before = total()
    job = client.post(INITIATE, json={"file_id": 1}, headers={"Prefer": "wait=1"}).json
    assert total() - before < 0.5
    labels = {"method": "GET", "route": "/v1/download/status/<job:job_id>", "status": "200"}
    before = total()
    assert client.get(f"/v1/download/status/{job['jobId']}?wait=1").status_code == 200
    assert total() - before < 0.5


def test_start_returns_the_unfinished_job_after_the_timeout(make_app: Callable[..., Flask]) -> None:
    client = make_app(request_timeout=0.2).test_client()
    response = client.post("/v1/download/start", json={"file_id": 5})
    assert (response.status_code, response.json["status"]) == (202, "queued")


def test_check_finds_an_available_file(client: FlaskClient) -> None:
    response = client.post("/v1/download/check", json={"file_id": 7})
    assert response.json == {"file_id": 7, "available": True, "size": 5, "fileName": "letter.txt"}


def test_check_reports_a_missing_file_as_unavailable(client: FlaskClient) -> None:
    response = client.post("/v1/download/check", json={"file_id": 404})
    assert response.status_code == 200
    assert response.json == {"file_id": 404, "available": False, "size": None, "fileName": None}


def test_check_is_unavailable_if_the_storage_is_down(
    client: FlaskClient, storage: FakeStorage
) -> None:
    storage.broken = True
    response = client.post("/v1/download/check", json={"file_id": 7})
    assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")


def test_only_a_failed_job_or_one_that_misses_files_is_run_again(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    job_id = post().json["jobId"]
    retry = f"/v1/download/{job_id}/retry"
    assert client.post(retry).status_code == 409
    worker.complete(job_id)
    assert client.post(retry).json["code"] == "JOB_CONFLICT"


def test_retry_runs_a_failed_job_again(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    job_id = post().json["jobId"]
    worker.fail(job_id)
    response = client.post(f"/v1/download/{job_id}/retry")
    assert (response.status_code, response.json["status"]) == (202, "queued")
    assert response.json["error"] is None


def test_retry_runs_a_completed_job_with_missing_files_again(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    job_id = post().json["jobId"]
    worker.complete(job_id, replace(ARTIFACT, missing_files=1))
    assert client.post(f"/v1/download/{job_id}/retry").status_code == 202
