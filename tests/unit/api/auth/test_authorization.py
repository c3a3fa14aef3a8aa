"""AUTH_MODE=jwt: every route requires a token, and only its owner has access to a job."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from api.auth import authorization
from common.settings import SettingError

SECRET = "0123456789abcdef0123456789abcdef"
#: Routes that need no token. They reveal nothing about any job.
PUBLIC = {
    "/",
    "/assets/<path:name>",
    # Its token is the permission, see tests/unit/api/routes/test_links.py.
    "/d/<token>",
    "/docs",
    "/docs/<path:name>",
    "/docs/problems",
    "/health",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/operator",
}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def bearer(user: str, **claims: Any) -> dict[str, str]:
    claims = {"sub": user, "exp": time.time() + 60, "aud": "longhaul", **claims}
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(auth_mode="jwt", jwt_secret=SECRET, jwt_audience="longhaul", ticket_secret="l")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def job(client: FlaskClient) -> dict[str, Any]:
    response = client.post("/v1/download/initiate", json={"file_id": 1}, headers=bearer("alice"))
    assert response.status_code == 202
    return dict(response.json)


def calls(app: Flask, **values: str) -> list[tuple[str, str, Rule]]:
    """Return every method and path of the app, with ``values`` in place of the variables."""
    found = []
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", lambda found: values.get(found[1], "x"), rule.rule)
        found += [(method, path, rule) for method in sorted(rule.methods - {"HEAD", "OPTIONS"})]
    return found


def test_every_route_requires_a_token_or_is_listed_as_public(
    app: Flask, client: FlaskClient
) -> None:
    unauthorized = {
        rule.rule
        for method, path, rule in calls(app, job_id=UNKNOWN)
        if client.open(path, method=method).status_code == 401
    }
    assert unauthorized == {rule.rule for rule in app.url_map.iter_rules()} - PUBLIC


def test_every_route_of_a_job_rejects_other_users(
    app: Flask, client: FlaskClient, job: dict[str, Any]
) -> None:
    of_jobs = [call for call in calls(app, job_id=job["jobId"]) if "job_id" in call[2].arguments]
    assert len(of_jobs) >= 8
    for method, path, _ in of_jobs:
        response = client.open(path, method=method, headers=bearer("mallory"), json={})
        assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN"), path
        if not path.startswith(authorization.ADMIN_PATHS):
            detail = "You don't have permission to access this job."
            assert response.json["detail"] == detail
    status = client.get(f"/v1/download/status/{job['jobId']}", headers=bearer("alice"))
    assert (status.status_code, status.json["status"]) == (200, "queued")


def test_operator_calls_require_the_scope(app: Flask, client: FlaskClient) -> None:
    for method, path, _ in calls(app, job_id=UNKNOWN):
        if path.startswith(authorization.ADMIN_PATHS):
            assert client.open(path, method=method, headers=bearer("alice")).status_code == 403
            operator = bearer("root", scope="openid downloads:admin")
            assert client.open(path, method=method, headers=operator).status_code != 403


@pytest.mark.parametrize("scopes", [{"scope": "a downloads:admin"}, {"scp": ["downloads:admin"]}])
def test_an_operator_may_see_and_cancel_any_job(
    client: FlaskClient, job: dict[str, Any], scopes: dict[str, Any]
) -> None:
    headers = bearer("root", **scopes)
    path = f"/v1/download/{job['jobId']}"
    assert client.get(f"/v1/download/status/{job['jobId']}", headers=headers).status_code == 200
    assert client.delete(path, headers=headers).status_code == 200
    (entry,) = client.get("/v1/admin/audit", headers=headers).json["entries"]
    shown = (entry["action"], entry["operator"], entry["jobIds"])
    assert shown == ("cancel", "root", [job["jobId"]])


def test_what_owners_do_to_their_jobs_is_not_in_the_audit_log(
    client: FlaskClient, job: dict[str, Any]
) -> None:
    for headers in (bearer("alice"), bearer("alice", scope="downloads:admin")):
        assert client.delete(f"/v1/download/{job['jobId']}", headers=headers).status_code == 200
    entries = client.get("/v1/admin/audit", headers=bearer("root", scope="downloads:admin")).json
    assert entries["entries"] == []


def test_an_unknown_job_is_not_found_rather_than_forbidden(client: FlaskClient) -> None:
    response = client.get(f"/v1/download/status/{UNKNOWN}", headers=bearer("alice"))
    assert (response.status_code, response.json["code"]) == (404, "JOB_NOT_FOUND")


def test_x_user_id_is_ignored_with_jwt(client: FlaskClient) -> None:
    response = client.get("/v1/download/jobs", headers={"X-User-Id": "alice"})
    assert response.status_code == 401
    assert response.json["detail"] == "Authentication required."
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="longhaul"'


def test_a_preflight_needs_no_token(make_app: Callable[..., Flask]) -> None:
    app = make_app(auth_mode="jwt", jwt_secret=SECRET, cors_origins="https://app.example")
    response = app.test_client().options(
        "/v1/download/initiate",
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"


def test_a_ticket_grants_access_to_the_streams_of_its_job_only(
    app: Flask, client: FlaskClient, job: dict[str, Any]
) -> None:
    ticket = job["subscribeUrl"].partition("?ticket=")[2]
    other = client.post("/v1/download/initiate", json={"file_id": 2}, headers=bearer("alice")).json[
        "jobId"
    ]
    opened = {
        rule.endpoint
        for method, path, rule in calls(app, job_id=job["jobId"])
        if rule.rule not in PUBLIC
        and client.open(f"{path}?ticket={ticket}", method=method).status_code != 401
    }
    # With a valid ticket, the status is 503: this app has no live updates.
    assert opened == authorization.TICKETED
    for path in (f"/v1/download/subscribe/{other}", f"/v1/download/{other}/stream"):
        assert client.get(f"{path}?ticket={ticket}").status_code == 401
    assert client.get(f"/v1/download/subscribe/{job['jobId']}?ticket=x").status_code == 401


def test_the_document_requires_a_token_where_one_is_needed(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters" and path.startswith("/v1/"):
                assert operation["security"] == [{"token": []}]
                assert {"401", "403"} <= set(operation["responses"])


@pytest.mark.parametrize(
    "incomplete",
    [
        {"auth_mode": "jvt"},
        {"auth_mode": "jwt"},
        {"auth_mode": "jwt", "jwt_secret": "short"},
        {"auth_mode": "jwt", "jwt_secret": SECRET, "jwt_jwks_url": "https://id.example/keys"},
        {"auth_mode": "jwt", "jwt_jwks_url": "https://id.example/keys", "jwt_issuer": "i"},
    ],
)
def test_incomplete_settings_are_rejected(
    make_app: Callable[..., Flask], incomplete: dict[str, str]
) -> None:
    with pytest.raises(SettingError):
        make_app(**incomplete)
