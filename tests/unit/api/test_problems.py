"""Every error response is problem+json."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from flask.testing import FlaskClient
from redis import Redis

from api import problems
from api.app import create_app
from api.schemas.requests import NAME_RULE
from common.bootstrap import assemble
from common.errors import LonghaulError
from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.settings import Settings
from tests.unit.api.conftest import OPERATOR, FakeStorage

INITIATE = "/v1/download/initiate"
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "retryable", "requestId"}


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "NOT_FOUND"),
        ("GET", "//v1/download/jobs", {"base_url": "http://localhost"}, 404, "NOT_FOUND"),
        ("GET", "/v1/download/jobs/", {}, 404, "NOT_FOUND"),
        ("GET", INITIATE, {}, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/v1/download/jobs", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", INITIATE, {"data": "file_id=1"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", INITIATE, {"data": b"{"}, 400, "MALFORMED_JSON"),
        ("POST", INITIATE, {"data": b""}, 400, "MALFORMED_JSON"),
        ("POST", INITIATE, {"data": b'{"file_id": NaN}'}, 400, "MALFORMED_JSON"),
        ("POST", INITIATE, {"data": b'{"fileName": "\xff"}'}, 400, "MALFORMED_JSON"),
        ("POST", INITIATE, {"data": b'{"fileName": "\\ud800"}'}, 400, "MALFORMED_JSON"),
        ("POST", INITIATE, {"data": b"[" * 60_000}, 400, "MALFORMED_JSON"),
        ("POST", INITIATE, {"data": b" " * 70_000}, 413, "BODY_TOO_LARGE"),
        ("POST", INITIATE, {"json": {}}, 400, "VALIDATION_ERROR"),
        ("POST", "/v1/download/check", {"json": {"file_id": 0}}, 400, "VALIDATION_ERROR"),
    ],
)
def test_an_error_is_a_problem_document(
    client: FlaskClient, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    if isinstance(options.get("data"), bytes):
        options = {**options, "content_type": "application/json"}
    response = client.open(path, method=method, **options)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    problem = response.json
    assert set(problem) - {"errors"} == MEMBERS
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["requestId"] == response.headers["X-Request-ID"]
    assert problem["type"].endswith(f"#{code}")


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "/v1/download/status/00000000-0000-4000-8000-000000000000", "Job not found."),
        ("PUT", "/v1/download/jobs", "Method not allowed."),
        ("GET", "/v1/admin/overview", "This endpoint is for operators only."),
    ],
)
def test_the_detail_says_what_is_wrong(
    client: FlaskClient, method: str, path: str, detail: str
) -> None:
    assert client.open(path, method=method).json["detail"] == detail


def test_invalid_fields_are_listed_with_what_is_wrong(client: FlaskClient) -> None:
    problem = client.post(INITIATE, json={"file_id": 0, "fileName": ".."}).json
    assert problem["detail"] == "Some fields are invalid."
    assert problem["errors"] == {
        "file_id": ["A file ID must be an integer from 1 to 100000000."],
        "fileName": [NAME_RULE],
    }


def test_a_wrong_method_gets_the_allowed_methods(client: FlaskClient) -> None:
    assert "POST" in client.get(INITIATE).headers["Allow"]


def test_the_instance_is_always_a_valid_uri(client: FlaskClient) -> None:
    assert client.get("/a%00%20b%C3%A9").json["instance"] == "/a%00%20b%C3%A9"


def test_an_unexpected_error_reveals_no_internals(
    client: FlaskClient, queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(job_id: str) -> None:
        raise RuntimeError("secret at 10.0.0.1")

    monkeypatch.setattr(queries, "get", explode)
    response = client.get("/v1/download/status/00000000-0000-4000-8000-000000000000")
    assert (response.status_code, response.json["code"]) == (500, "INTERNAL_ERROR")
    assert b"secret" not in response.data


def test_every_error_class_has_a_status() -> None:
    def below(kind: type[LonghaulError]) -> Iterator[type[LonghaulError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    for kind in below(LonghaulError):
        assert 400 <= problems.status_of(kind) <= 599


def client_of(store: Redis, storage: object) -> FlaskClient:
    services = assemble(Settings(admin_token="open sesame"), store, storage)
    return create_app(services).test_client()


@pytest.fixture
def hung_port() -> Iterator[int]:
    """The port of a server that accepts connections and never responds."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


CALLS = [
    ("POST", INITIATE, {"json": {"file_id": 1}}),
    ("GET", "/v1/download/status/00000000-0000-4000-8000-000000000000", {}),
    ("GET", "/v1/download/jobs", {}),
    ("GET", "/v1/download/queue/stats", {}),
    ("DELETE", "/v1/download/00000000-0000-4000-8000-000000000000", {}),
]


@pytest.mark.parametrize("kind", ["hung_port", "closed_port"])
def test_an_unavailable_job_store_is_a_503_within_two_seconds(
    request: pytest.FixtureRequest, kind: str, storage: FakeStorage
) -> None:
    port = request.getfixturevalue(kind)
    store = open_client(f"redis://127.0.0.1:{port}/0", timeout=1.5)
    client = client_of(store, storage)
    for method, path, options in CALLS:
        started = time.monotonic()
        response = client.open(path, method=method, **options)
        assert time.monotonic() - started < 2
        assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")
        assert int(response.headers["Retry-After"]) >= 1
        assert str(port) not in response.text
    store.close()


def test_other_routes_work_while_the_job_store_is_down(
    closed_port: int, storage: FakeStorage
) -> None:
    store = open_client(f"redis://127.0.0.1:{closed_port}/0", timeout=1.5)
    client = client_of(store, storage)
    for path in ("/", "/docs", "/openapi.json", "/health/live", "/metrics"):
        assert client.get(path, headers=OPERATOR).status_code == 200
    store.close()


def test_a_job_store_that_rejects_writes_is_an_unavailable_backend(
    client: FlaskClient, jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise redis_py.exceptions.OutOfMemoryError

    monkeypatch.setattr(jobs, "create", full)
    response = client.post(INITIATE, json={"file_id": 1})
    assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")


def test_a_job_store_that_cannot_persist_writes_is_an_unavailable_backend(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(*_: object, **__: object) -> None:
        raise redis_py.exceptions.ResponseError("MISCONF Errors writing to the AOF file")

    # In the pipeline with which a process shares its counts of requests.
    monkeypatch.setattr(redis_py.client.Pipeline, "parse_response", reject)
    response = client.get("/v1/download/jobs")
    assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")
