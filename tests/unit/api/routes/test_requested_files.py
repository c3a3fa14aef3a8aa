"""Creating jobs by ``files``, with paths in the archive, and with a manifest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.jobs.model import FileReport
from tests.unit.api.conftest import Worker

FILES: list[dict[str, object]] = [
    {"file_id": 5, "path": "2026/report.pdf"},
    {"file_id": 3},
    {"file_id": 5, "path": "copies/"},
]


def test_files_are_requested_with_their_paths(
    post: Callable[..., Any], queries: JobQueries
) -> None:
    response = post(files=FILES, manifest=True)
    assert response.status_code == 202
    assert response.json["totalFiles"] == response.json["totalFileIds"] == 3
    spec = queries.spec(response.json["jobId"])
    assert spec.file_ids == (5, 3, 5)
    assert spec.paths == ("2026/report.pdf", None, "copies/")
    assert spec.manifest is True


def test_the_same_file_with_the_same_path_is_requested_once(
    post: Callable[..., Any], queries: JobQueries
) -> None:
    job_id = post(files=[*FILES, FILES[0], {"file_id": 3, "path": None}]).json["jobId"]
    assert queries.spec(job_id).file_ids == (5, 3, 5)


def test_files_without_paths_are_the_same_request_as_file_ids(post: Callable[..., Any]) -> None:
    first = post(files=[{"file_id": 5}, {"file_id": 3, "path": None}, {"file_id": 5}])
    assert first.status_code == 202
    again = post(file_ids=[5, 3])
    assert again.json["deduplicated"] is True
    assert again.json["jobId"] == first.json["jobId"]


@pytest.mark.parametrize(
    "other",
    [
        {"files": [*FILES[:2], {"file_id": 5, "path": "copies"}]},
        {"files": [FILES[1], FILES[0], FILES[2]]},
        {"files": FILES[:2]},
        {"files": FILES, "manifest": True},
        {"file_ids": [5, 3]},
    ],
)
def test_requests_with_other_paths_are_not_identical(
    post: Callable[..., Any], other: dict[str, Any]
) -> None:
    first = post(files=FILES)
    assert post(files=FILES).json["jobId"] == first.json["jobId"]
    assert post(**other).json["jobId"] != first.json["jobId"]


def test_an_idempotency_key_cannot_be_used_for_other_paths(post: Callable[..., Any]) -> None:
    headers = {"Idempotency-Key": "once"}
    first = post(headers, files=FILES)
    assert post(headers, files=FILES).json["jobId"] == first.json["jobId"]
    other = post(headers, files=[{**FILES[0], "path": "2027/report.pdf"}, *FILES[1:]])
    assert (other.status_code, other.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"files": FILES, "file_ids": [1]}, "file_ids"),
        ({"files": FILES, "file_id": 1}, "file_ids"),
        ({"manifest": True}, "file_ids"),
        ({"files": []}, "files"),
        ({"files": {"5": "a"}}, "files"),
        ({"files": [{"file_id": 1}] * 1001}, "files"),
        ({"files": [5]}, "files.0"),
        ({"files": [{"path": "a"}]}, "files.0"),
        ({"files": [{"file_id": 1}, {"file_id": 0}]}, "files.1.file_id"),
        ({"files": [{"file_id": "1"}]}, "files.0.file_id"),
        ({"files": [{"file_id": 1, "path": ""}]}, "files.0.path"),
        ({"files": [{"file_id": 1, "path": 7}]}, "files.0.path"),
        ({"files": [{"file_id": 1, "path": ["a"]}]}, "files.0.path"),
        ({"files": [{"file_id": 1, "path": "x" * 1025}]}, "files.0.path"),
        ({"files": [{"file_id": 1, "name": "a"}]}, "files.0.name"),
        ({"file_id": 1, "manifest": 1}, "manifest"),
        ({"file_id": 1, "manifest": "true"}, "manifest"),
        ({"file_id": 1, "manifest": None}, "manifest"),
    ],
)
def test_what_is_wrong_is_reported_by_field(
    client: FlaskClient, body: dict[str, Any], member: str
) -> None:
    response = client.post("/v1/download/initiate", json=body)
    assert (response.status_code, response.json["code"]) == (400, "VALIDATION_ERROR")
    assert list(response.json["errors"]) == [member]


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "C:\\x", "/", "a//b", "con", "\u202egnp.exe", "x" * 1024]
)
def test_unsafe_paths_are_accepted_because_the_worker_makes_them_safe(
    post: Callable[..., Any], path: str
) -> None:
    assert post(files=[{"file_id": 1, "path": path}]).status_code == 202


@pytest.mark.parametrize("call", ["check", "start"])
def test_other_calls_do_not_take_files(client: FlaskClient, call: str) -> None:
    response = client.post(f"/v1/download/{call}", json={"files": FILES})
    assert response.status_code == 400


def test_a_retry_keeps_the_paths(
    client: FlaskClient, post: Callable[..., Any], worker: Worker, queries: JobQueries
) -> None:
    job_id = post(files=FILES, manifest=True).json["jobId"]
    before = queries.spec(job_id)
    worker.fail(job_id)
    assert client.post(f"/v1/download/{job_id}/retry").status_code == 202
    assert queries.spec(job_id) == before


def test_the_files_of_a_job_are_listed_with_their_paths(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore, worker: Worker
) -> None:
    job_id = post(files=FILES).json["jobId"]
    reports = [
        FileReport(file_id=5, state="done", size=9, name="2026/report.pdf"),
        FileReport(file_id=3, state="done", size=7, name="three.txt"),
    ]
    jobs.heartbeat(worker.claim(job_id), {}, reports)
    path = f"/v1/download/status/{job_id}/files"
    listed = [client.get(f"{path}?limit=2").json]
    listed.append(client.get(f"{path}?limit=2&cursor={listed[0]['nextCursor']}").json)
    assert [
        (file["file_id"], file["state"], file["fileName"], file["path"])
        for page in listed
        for file in page["files"]
    ] == [
        (5, "done", "report.pdf", "2026/report.pdf"),
        (3, "done", "three.txt", "three.txt"),
        # Until the file is done, this is the path of the request.
        (5, "pending", None, "copies/"),
    ]


def test_each_path_of_a_file_has_its_own_report(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore, worker: Worker
) -> None:
    job_id = post(files=FILES).json["jobId"]
    report = FileReport(file_id=5, copy=1, state="done", size=9, name="copies/report.pdf")
    jobs.heartbeat(worker.claim(job_id), {}, [report])
    files = client.get(f"/v1/download/status/{job_id}/files").json["files"]
    assert [(file["state"], file["path"]) for file in files] == [
        ("pending", "2026/report.pdf"),
        ("pending", None),
        ("done", "copies/report.pdf"),
    ]
