"""The body member ``user_id``: the caller, or 403."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.api.auth.test_authorization import SECRET, bearer

PATHS = ("/v1/download/initiate", "/v1/download/async", "/v1/download/start", "/v1/download/check")


@pytest.fixture
def jwt_client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(
        auth_mode="jwt", jwt_secret=SECRET, jwt_audience="longhaul", request_timeout=0
    ).test_client()


def users_jobs(client: FlaskClient, user: str) -> int:
    return len(client.get("/v1/download/jobs", headers={"X-User-Id": user}).json["jobs"])


def test_without_authentication_it_is_the_caller(client: FlaskClient) -> None:
    assert client.post(PATHS[0], json={"file_ids": [1], "user_id": "alice"}).status_code == 202
    assert client.post(PATHS[0], json={"file_ids": [2], "user_id": 42}).status_code == 202
    assert client.post(PATHS[0], json={"file_ids": [3], "user_id": None}).status_code == 202
    assert users_jobs(client, "alice") == users_jobs(client, "42") == 1
    assert users_jobs(client, "anonymous") == 1


@pytest.mark.parametrize("path", PATHS)
def test_the_header_takes_precedence(make_app: Callable[..., Flask], path: str) -> None:
    client = make_app(request_timeout=0).test_client()
    # A gateway in front of the API may identify users and set the header.
    body = {"file_id": 1, "user_id": "alice"}
    response = client.post(path, json=body, headers={"X-User-Id": "bob"})
    assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN")
    response = client.post(path, json=body, headers={"X-User-Id": "anonymous"})
    assert response.status_code == 403
    response = client.post(path, json=body, headers={"X-User-Id": "alice"})
    assert response.status_code in (200, 202)


@pytest.mark.parametrize("user", ["", "a b", "é", "x" * 129, "x" * 2000, True, 1.5, ["a"], {}])
def test_an_invalid_one_is_rejected(client: FlaskClient, user: Any) -> None:
    response = client.post(PATHS[0], json={"file_ids": [1], "user_id": user})
    assert (response.status_code, list(response.json["errors"])) == (400, ["user_id"])


def test_a_long_number_is_not_cut(client: FlaskClient) -> None:
    number = 10**100 + 7
    for user, status in ((number, 202), (10**150, 400), (10**1_000, 400)):
        body = f'{{"file_ids":[1],"user_id":{user}}}'
        response = client.post(PATHS[0], data=body, content_type="application/json")
        assert response.status_code == status
    jobs = client.get("/v1/download/jobs", headers={"X-User-Id": str(number)}).json["jobs"]
    assert len(jobs) == 1


@pytest.mark.parametrize("path", PATHS)
def test_with_a_token_it_must_be_the_subject(jwt_client: FlaskClient, path: str) -> None:
    body = {"file_id": 1, "user_id": "alice"}
    assert jwt_client.post(path, json=body, headers=bearer("alice")).status_code in (200, 202)
    for token in (bearer("bob"), bearer("bob", scope="downloads:admin")):
        response = jwt_client.post(path, json=body, headers=token)
        assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN")


def test_a_subject_of_any_characters_is_compared_as_it_is(jwt_client: FlaskClient) -> None:
    subject = "Ada Lövelace"
    body = {"file_id": 1, "user_id": subject}
    assert jwt_client.post(PATHS[0], json=body, headers=bearer(subject)).status_code == 202
    digest = hashlib.sha256(subject.encode()).hexdigest()
    # The digest stands for that user inside; nobody can name it to become them.
    body = {"file_id": 1, "user_id": f"sha256:{digest}"}
    assert jwt_client.post(PATHS[0], json=body, headers=bearer(subject)).status_code == 403


def test_a_job_of_a_named_user_counts_for_that_user(make_app: Callable[..., Flask]) -> None:
    client = make_app(create_per_minute_user=1).test_client()
    statuses = [
        client.post(PATHS[0], json={"file_ids": [number], "user_id": user}).status_code
        for number, user in ((1, "alice"), (2, "alice"), (3, "bob"))
    ]
    assert statuses == [202, 429, 202]
