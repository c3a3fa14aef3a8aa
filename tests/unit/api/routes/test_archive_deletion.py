"""How long archives are kept, and what their users can do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.api.auth.test_authorization import SECRET, bearer
from tests.unit.api.conftest import Worker

Post = Callable[..., Any]


@pytest.fixture
def job_id(post: Post, worker: Worker) -> str:
    job_id: str = post().json["jobId"]
    worker.complete(job_id)
    return job_id


def test_a_deleted_archive_is_gone(client: FlaskClient, job_id: str) -> None:
    link = client.post(f"/v1/download/{job_id}/links", json={}).json["url"]
    response = client.delete(f"/v1/download/{job_id}/archive")
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers

    result = client.get(f"/v1/download/{job_id}")
    assert (result.status_code, result.json["code"]) == (410, "ARCHIVE_DELETED")
    assert client.get(link.removeprefix("http://localhost")).status_code == 410
    assert client.post(f"/v1/download/{job_id}/links", json={}).json["code"] == "ARCHIVE_DELETED"
    status = client.get(f"/v1/download/status/{job_id}")
    assert status.status_code == 410
    for name in ("availableUntil", "downloadUrl", "expiresAt", "fileName", "fileSize"):
        assert status.json[name] is None


def test_deleting_an_archive_again_succeeds(client: FlaskClient, job_id: str) -> None:
    for _ in range(3):
        assert client.delete(f"/v1/download/{job_id}/archive").status_code == 204


def test_an_unfinished_job_has_no_archive_to_delete(client: FlaskClient, post: Post) -> None:
    job_id = post().json["jobId"]
    response = client.delete(f"/v1/download/{job_id}/archive")
    assert (response.status_code, response.json["code"]) == (409, "JOB_CONFLICT")


def test_an_unknown_job_has_no_archive(client: FlaskClient) -> None:
    response = client.delete("/v1/download/00000000-0000-4000-8000-000000000000/archive")
    assert response.status_code == 404


def test_others_cannot_delete_an_archive(make_app: Callable[..., Flask], worker: Worker) -> None:
    client = make_app(auth_mode="jwt", jwt_secret=SECRET, jwt_audience="longhaul").test_client()
    body = {"file_ids": [1]}
    job_id = client.post("/v1/download/initiate", json=body, headers=bearer("alice")).json["jobId"]
    worker.complete(job_id)
    path = f"/v1/download/{job_id}/archive"
    assert client.delete(path).status_code == 401
    assert client.delete(path, headers=bearer("bob")).status_code == 403
    assert client.delete(path, headers=bearer("alice")).status_code == 204


def test_a_request_limits_how_long_its_archive_is_kept(
    client: FlaskClient, post: Post, worker: Worker
) -> None:
    job_id = post(file_ids=[1], expiresIn=90).json["jobId"]
    job = worker.complete(job_id)
    assert job.completed_at is not None
    assert job.expires_at == job.completed_at + 90_000


def test_requests_for_different_times_are_different(post: Post) -> None:
    first = post(file_ids=[1], expiresIn=90).json
    assert post(file_ids=[1], expiresIn=90).json["jobId"] == first["jobId"]
    assert post(file_ids=[1], expiresIn=91).json["jobId"] != first["jobId"]
    assert post(file_ids=[1]).json["jobId"] != first["jobId"]


@pytest.mark.parametrize("value", [0, -1, 86_401, 1.5, "60", True, [60]])
def test_an_invalid_time_is_rejected(post: Post, value: Any) -> None:
    response = post(file_ids=[1], expiresIn=value)
    assert response.status_code == 400, value
    assert list(response.json["errors"]) == ["expiresIn"]


def test_the_document_states_the_longest_time(client: FlaskClient) -> None:
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    expires_in = schemas["Initiate"]["properties"]["expiresIn"]
    assert (expires_in["minimum"], expires_in["maximum"]) == (1, 86_400)
