"""Asking for files."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace

import pytest

from api import queue_limit
from tests.unit.api.conftest import ARTIFACT

INITIATE = "/v1/download/initiate"


def test_a_request_for_files_is_accepted_as_a_queued_job(post):
    answer = post(file_ids=[3, 1, 3], metadata={"order": 7})
    assert answer.status_code == 202
    job = answer.json
    assert (job["status"], job["version"]) == ("queued", 1)
    assert job["totalFileIds"] == job["totalFiles"] == 2
    assert job["metadata"] == {"order": 7}
    assert job["deduplicated"] is False
    assert uuid.UUID(job["jobId"])


def test_an_accepted_job_tells_where_to_go_on(post):
    answer = post()
    job = answer.json
    base = "http://localhost/v1/download"
    assert job["statusUrl"] == f"{base}/status/{job['jobId']}" == answer.headers["Location"]
    assert job["resultUrl"] == f"{base}/{job['jobId']}"
    assert job["cancelUrl"] == f"{base}/cancel/{job['jobId']}"
    assert job["subscribeUrl"].startswith(f"{base}/subscribe/{job['jobId']}")
    assert job["webSocketUrl"].startswith("ws://localhost/v1/download/subscribe/")
    assert job["pollingInterval"] == 2000
    assert answer.headers["Retry-After"] == "2"


def test_the_urls_begin_with_the_public_one_where_it_is_set(make_app):
    client = make_app(public_url="https://files.example/").test_client()
    job = client.post(INITIATE, json={"file_id": 1}).json
    assert job["statusUrl"].startswith("https://files.example/v1/")
    assert job["webSocketUrl"].startswith("wss://files.example/v1/")


def test_the_order_of_the_files_is_kept(post, queries):
    job_id = post(file_ids=[9, 2, 9, 5]).json["jobId"]
    assert queries.spec(job_id).file_ids == (9, 2, 5)


def test_async_is_another_name_of_initiate(client):
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
        ({"file_id": 1, "fileName": "a\u0000b"}, "fileName"),
        ({"file_id": 1, "metadata": [1]}, "metadata"),
        ({"file_id": 1, "metadata": {"x": "y" * 4096}}, "metadata"),
        ({"file_id": 1, "colour": "red"}, "colour"),
        ([1], "body"),
    ],
)
def test_what_is_wrong_with_a_request_stands_under_its_member(client, body, member):
    answer = client.post(INITIATE, json=body)
    assert answer.status_code == 400
    assert answer.json["code"] == "VALIDATION_ERROR"
    assert list(answer.json["errors"]) == [member]
    assert all(answer.json["errors"][member])


def test_metadata_that_is_nested_too_deep_is_refused(client):
    nested = '{"m":' * 400 + "1" + "}" * 400
    body = f'{{"file_id": 1, "metadata": {nested}}}'
    answer = client.post(INITIATE, data=body, content_type="application/json")
    assert list(answer.json["errors"]) == ["metadata"]


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
def test_a_callback_to_a_plainly_private_address_is_refused(client, url):
    answer = client.post(INITIATE, json={"file_id": 1, "callbackUrl": url})
    assert list(answer.json["errors"]) == ["callbackUrl"]


def test_a_callback_to_a_public_host_is_taken(client):
    body = {"file_id": 1, "callbackUrl": "https://hooks.example.com:8443/x?y=1"}
    assert client.post(INITIATE, json=body).status_code == 202


def test_the_same_idempotency_key_gets_the_first_answer_again(post):
    first = post({"Idempotency-Key": "order 7"})
    second = post({"Idempotency-Key": "order 7"})
    assert second.json["jobId"] == first.json["jobId"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"


def test_an_idempotency_key_of_another_request_is_refused(post):
    post({"Idempotency-Key": "a"}, file_id=1)
    answer = post({"Idempotency-Key": "a"}, file_id=2)
    assert (answer.status_code, answer.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_an_idempotency_key_belongs_to_its_caller(post):
    first = post({"Idempotency-Key": "a", "X-User-Id": "ann"})
    second = post({"Idempotency-Key": "a", "X-User-Id": "bob"})
    assert first.json["jobId"] != second.json["jobId"]


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
def test_an_idempotency_key_has_to_be_printable_and_short(post, key):
    assert post({"Idempotency-Key": key}).json["code"] == "VALIDATION_ERROR"


def test_ten_identical_requests_in_a_row_make_one_job(post):
    answers = [post(file_ids=[1, 2]) for _ in range(10)]
    assert len({answer.json["jobId"] for answer in answers}) == 1
    assert [answer.json["deduplicated"] for answer in answers] == [False] + [True] * 9


def test_a_sixth_unfinished_job_is_one_too_many(post):
    for number in range(1, 6):
        assert post(file_id=number).status_code == 202
    answer = post(file_id=6)
    assert (answer.status_code, answer.json["code"]) == (429, "TOO_MANY_ACTIVE_JOBS")
    assert int(answer.headers["Retry-After"]) >= 1
    assert post({"X-User-Id": "somebody-else"}, file_id=6).status_code == 202


def test_a_full_queue_refuses_with_the_time_to_come_back(make_app):
    client = make_app(queue_max=2).test_client()
    users = [{"X-User-Id": name} for name in ("a", "b", "c")]
    answers = [client.post(INITIATE, json={"file_id": 1}, headers=user) for user in users]
    assert [answer.status_code for answer in answers] == [202, 202, 503]
    assert answers[2].json["code"] == "QUEUE_FULL"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= queue_limit.LATEST_RETRY


def test_a_preferred_wait_that_sees_the_end_is_answered_with_200(client, worker, queries):
    def work() -> None:
        job_ids: list[str] = []
        while not job_ids:
            job_ids = queries.list_ids("anonymous")
        worker.complete(job_ids[0])

    thread = threading.Thread(target=work)
    thread.start()
    answer = client.post(INITIATE, json={"file_id": 1}, headers={"Prefer": "wait=10"})
    thread.join()
    assert answer.status_code == 200
    assert answer.json["status"] == "completed"
    assert answer.json["downloadUrl"].startswith("https://storage.example/archives/ab/cd.zip")
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert "Retry-After" not in answer.headers


def test_a_preferred_wait_that_ends_before_the_job_is_answered_with_202(client):
    answer = client.post(INITIATE, json={"file_id": 1}, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_start_waits_for_the_end_and_else_hands_out_the_job(make_app):
    client = make_app(request_timeout=0.2).test_client()
    answer = client.post("/v1/download/start", json={"file_id": 5})
    assert (answer.status_code, answer.json["status"]) == (202, "queued")


def test_check_tells_of_a_file_that_is_there(client):
    answer = client.post("/v1/download/check", json={"file_id": 7})
    assert answer.json == {"file_id": 7, "available": True, "size": 5, "fileName": "letter.txt"}


def test_check_tells_of_a_file_that_is_not_there(client):
    answer = client.post("/v1/download/check", json={"file_id": 404})
    assert answer.status_code == 200
    assert answer.json == {"file_id": 404, "available": False, "size": None, "fileName": None}


def test_check_says_so_when_the_storage_is_away(client, storage):
    storage.broken = True
    answer = client.post("/v1/download/check", json={"file_id": 7})
    assert (answer.status_code, answer.json["code"]) == (503, "BACKEND_UNAVAILABLE")


def test_only_a_failed_job_or_one_that_misses_files_is_run_again(client, post, worker):
    job_id = post().json["jobId"]
    retry = f"/v1/download/{job_id}/retry"
    assert client.post(retry).status_code == 409
    worker.complete(job_id)
    assert client.post(retry).json["code"] == "JOB_CONFLICT"


def test_a_failed_job_is_run_again_on_request(client, post, worker):
    job_id = post().json["jobId"]
    worker.fail(job_id)
    answer = client.post(f"/v1/download/{job_id}/retry")
    assert (answer.status_code, answer.json["status"]) == (202, "queued")
    assert answer.json["error"] is None


def test_a_completed_job_that_misses_files_is_run_again_on_request(client, post, worker):
    job_id = post().json["jobId"]
    worker.complete(job_id, replace(ARTIFACT, missing_files=1))
    assert client.post(f"/v1/download/{job_id}/retry").status_code == 202
