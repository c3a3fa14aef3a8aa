"""The API's contract, tested with plain HTTP against the running system."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from stack.sample_catalog import MISSING_ID, SMALL
from tests.support.tcp_proxy import TcpProxy


def post(http: httpx.Client, *file_ids: int, **members: Any) -> dict[str, Any]:
    response = http.post("/v1/download/initiate", json={"file_ids": file_ids, **members})
    assert response.status_code == 202, response.text
    return dict(response.json())


def poll(
    http: httpx.Client, job: dict[str, Any], states: list[dict[str, Any]] | None = None
) -> Any:
    """Poll until the job is finished; append every response to ``states``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = http.get(job["statusUrl"]).json()
        if states is not None:
            states.append(state)
        if state["status"] not in {"queued", "processing"}:
            return state
        time.sleep(0.05)
    raise AssertionError(f"not finished: {state}")


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert {"type", "title", "detail", "instance", "retryable", "requestId"} <= body.keys()
    assert body["requestId"] == response.headers["X-Request-ID"]


def test_result_url_redirects_to_an_archive_of_the_files(http: httpx.Client) -> None:
    requested = SMALL[:5]
    job = post(http, *(sample.file_id for sample in requested), fileName="five")
    states: list[dict[str, Any]] = []
    done = poll(http, job, states)
    assert done["status"] == "completed"
    assert (done["progress"], done["processedFiles"], done["totalFiles"]) == (100, 5, 5)
    progress = [state["progress"] for state in states]
    assert progress == sorted(progress)
    redirect = http.get(job["resultUrl"])
    assert redirect.status_code == 302
    body = httpx.get(redirect.headers["Location"]).content
    assert len(body) == done["fileSize"]
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert archive.testzip() is None
    contents = {info.filename: archive.read(info) for info in archive.infolist()}
    assert contents == {sample.name: sample.make() for sample in requested}


def test_the_download_url_sets_the_name_of_the_archive(http: httpx.Client) -> None:
    job = post(http, 10001, 10002, fileName="Übersicht 2026")
    poll(http, job)
    result = http.get(job["resultUrl"], headers={"Accept": "application/json"}).json()
    assert {"downloadUrl", "expiresAt", "fileName", "fileSize", "contentType"} <= result.keys()
    disposition = httpx.get(result["downloadUrl"]).headers["Content-Disposition"]
    assert "filename*=UTF-8''%C3%9Cbersicht%202026.zip" in disposition


def test_a_single_file_is_delivered_without_an_archive(http: httpx.Client) -> None:
    sample = SMALL[2]
    job = http.post("/v1/download/initiate", json={"file_id": sample.file_id}).json()
    done = poll(http, job)
    assert (done["fileName"], done["fileSize"]) == (sample.name, len(sample.make()))
    assert httpx.get(done["downloadUrl"]).content == sample.make()


def test_a_missing_file_fails_the_job_in_the_first_attempt(http: httpx.Client) -> None:
    job = post(http, 10001, MISSING_ID)
    failed = poll(http, job)
    assert (failed["status"], failed["errorCode"]) == ("failed", "FILE_NOT_FOUND")
    assert (failed["retryable"], failed["attempt"]) == (False, 1)
    assert_problem(http.get(job["resultUrl"]), 409, "JOB_FAILED")


def test_skipping_missing_files_adds_a_manifest_to_the_archive(http: httpx.Client) -> None:
    job = post(http, 10001, MISSING_ID, onMissing="skip")
    done = poll(http, job)
    assert done["status"] == "completed"
    assert (job["missingFiles"], done["missingFiles"]) == (0, 1)
    for path in (f"subscribe/{job['jobId']}", f"{job['jobId']}/stream"):
        events = http.get(f"/v1/download/{path}").text
        assert events.count('"missingFiles":1,') == events.count("data: ") == 2
    (listed,) = [
        j for j in http.get("/v1/download/jobs").json()["jobs"] if j["jobId"] == job["jobId"]
    ]
    assert listed["missingFiles"] == 1
    archive = zipfile.ZipFile(io.BytesIO(httpx.get(done["downloadUrl"]).content))
    manifest = json.loads(archive.read("MANIFEST.json"))
    assert str(MISSING_ID) in json.dumps(manifest)
    files = http.get(f"/v1/download/status/{job['jobId']}/files").json()["files"]
    assert [(f["file_id"], f["state"]) for f in files] == [(10001, "done"), (MISSING_ID, "missing")]


def test_identical_requests_while_a_job_runs_get_the_same_job(
    http: httpx.Client, s3_proxy: TcpProxy
) -> None:
    s3_proxy.hold()
    jobs = [post(http, 10001, 10002) for _ in range(10)]
    assert len({job["jobId"] for job in jobs}) == 1
    assert [job["deduplicated"] for job in jobs] == [False] + [True] * 9


def test_the_same_idempotency_key_gets_the_first_response_again(http: httpx.Client) -> None:
    def send(file_id: int) -> httpx.Response:
        headers = {"Idempotency-Key": "the-key"}
        body = {"file_ids": [file_id]}
        return http.post("/v1/download/initiate", json=body, headers=headers)

    first = send(10001).json()
    poll(http, first)
    assert send(10001).json()["jobId"] == first["jobId"]
    assert_problem(send(10002), 422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    "cancel",
    [
        lambda http, job_id: http.delete(f"/v1/download/{job_id}"),
        lambda http, job_id: http.post(f"/v1/download/cancel/{job_id}"),
    ],
    ids=["DELETE", "POST"],
)
def test_both_cancel_calls_are_idempotent(
    http: httpx.Client, s3_proxy: TcpProxy, cancel: Callable[[httpx.Client, str], httpx.Response]
) -> None:
    s3_proxy.hold()
    job = post(http, 10001, 10002)
    for _ in range(2):
        response = cancel(http, job["jobId"])
        assert response.status_code == 200
        assert (response.json()["jobId"], response.json()["status"]) == (job["jobId"], "cancelled")
    cancelled = http.get(job["statusUrl"])
    assert cancelled.status_code == 410
    assert cancelled.json()["status"] == "cancelled"
    assert http.get(job["resultUrl"]).status_code == 410


def test_a_finished_job_cannot_be_cancelled(http: httpx.Client) -> None:
    job = post(http, 10001)
    poll(http, job)
    assert http.delete(f"/v1/download/{job['jobId']}").status_code == 409


def test_an_unchanged_status_is_304(http: httpx.Client) -> None:
    job = post(http, 10001)
    poll(http, job)
    first = http.get(job["statusUrl"])
    again = http.get(job["statusUrl"], headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_long_poll_returns_when_the_version_changes(http: httpx.Client) -> None:
    state = post(http, *(sample.file_id for sample in SMALL))
    versions = [state["version"]]
    while state["status"] in {"queued", "processing"}:
        started = time.monotonic()
        params = {"wait": 20, "since": versions[-1]}
        state = http.get(f"/v1/download/status/{state['jobId']}", params=params).json()
        assert time.monotonic() - started < 19
        versions.append(state["version"])
    assert state["status"] == "completed"
    assert versions == sorted(set(versions))


def test_prefer_wait_returns_the_finished_job(http: httpx.Client) -> None:
    response = http.post(
        "/v1/download/initiate", json={"file_ids": [10001, 10002]}, headers={"Prefer": "wait=20"}
    )
    assert response.status_code == 200
    assert response.json()["status"] == "completed"


def test_the_synchronous_call_returns_the_finished_job(http: httpx.Client) -> None:
    response = http.post("/v1/download/start", json={"file_id": 10003})
    assert response.status_code == 200
    assert response.json()["downloadUrl"]


def test_check_reports_whether_a_file_exists(http: httpx.Client) -> None:
    sample = SMALL[2]
    existing = http.post("/v1/download/check", json={"file_id": sample.file_id}).json()
    assert existing == {
        "file_id": sample.file_id,
        "available": True,
        "size": len(sample.make()),
        "fileName": sample.name,
    }
    missing = http.post("/v1/download/check", json={"file_id": MISSING_ID}).json()
    assert missing["available"] is False


def test_the_result_of_an_unfinished_job_is_404_job_not_ready(
    http: httpx.Client, s3_proxy: TcpProxy
) -> None:
    s3_proxy.hold()
    job = post(http, 10001, 10002)
    response = http.get(job["resultUrl"])
    assert_problem(response, 404, "JOB_NOT_READY")
    assert int(response.headers["Retry-After"]) >= 1
    http.delete(f"/v1/download/{job['jobId']}")


def test_every_error_is_a_problem_document(http: httpx.Client) -> None:
    unknown = uuid.uuid4()
    initiate = "/v1/download/initiate"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    as_json = {"Content-Type": "application/json"}
    assert_problem(http.post(initiate, json={"file_ids": []}), 400, "VALIDATION_ERROR")
    assert_problem(http.post(initiate, json={"file_ids": ["1"]}), 400, "VALIDATION_ERROR")
    assert_problem(http.post(initiate, content="{", headers=as_json), 400, "MALFORMED_JSON")
    assert http.post(initiate, content="a=b", headers=form).status_code == 415
    big = http.post(initiate, content=b" " * 200_000, headers=as_json)
    assert_problem(big, 413, "BODY_TOO_LARGE")
    assert_problem(http.get(f"/v1/download/status/{unknown}"), 404, "JOB_NOT_FOUND")
    assert_problem(http.get(f"/v1/download/{unknown}"), 404, "JOB_NOT_FOUND")
    assert_problem(http.delete(f"/v1/download/{unknown}"), 404, "JOB_NOT_FOUND")
    assert http.get("/no/such/path").headers["Content-Type"] == "application/problem+json"
    assert http.put(initiate).status_code == 405


def test_job_list_is_paged_and_newest_first(http: httpx.Client) -> None:
    created = [post(http, 10001, metadata={"number": number})["jobId"] for number in range(4)]
    listed: list[str] = []
    cursor = None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/download/jobs", params=params).json()
        listed += [job["jobId"] for job in page["jobs"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert listed == created[::-1]


def test_a_user_may_have_five_unfinished_jobs(http: httpx.Client, s3_proxy: TcpProxy) -> None:
    s3_proxy.hold()
    for number in range(5):
        post(http, 10001, metadata={"number": number})
    sixth = http.post("/v1/download/initiate", json={"file_ids": [10001]})
    assert_problem(sixth, 429, "TOO_MANY_ACTIVE_JOBS")
    assert sixth.headers["Retry-After"]
    for job in http.get("/v1/download/jobs").json()["jobs"]:
        http.delete(f"/v1/download/{job['jobId']}")


def test_health_names_its_checks(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert health["status"] == "healthy"
    assert health["checks"]["redis"] == health["checks"]["storage"] == "ok"
    assert http.get("/health/live").status_code == http.get("/health/ready").status_code == 200
