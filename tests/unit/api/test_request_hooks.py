"""The hooks of every request."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common.settings import SettingError
from tests.unit.api.conftest import OPERATOR

JOBS = "/v1/download/jobs"


@pytest.mark.parametrize("path", ["/", "/nowhere", JOBS, "/health/live", "/openapi.json", "/docs"])
def test_every_response_has_the_common_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert uuid.UUID(headers["X-Request-ID"])
    assert headers["RateLimit-Limit"] == "6000"
    assert headers["RateLimit-Remaining"] == "5999"
    assert 1 <= int(headers["RateLimit-Reset"]) <= 60
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_valid_request_id_is_kept(client: FlaskClient) -> None:
    response = client.get("/nowhere", headers={"X-Request-ID": "trace-7.a_b"})
    assert response.headers["X-Request-ID"] == response.json["requestId"] == "trace-7.a_b"


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>"])
def test_an_invalid_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    assert uuid.UUID(client.get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"])


@pytest.mark.parametrize("user", ["", "x" * 129, "a b", "{p00}", "é"])
def test_an_invalid_user_id_is_rejected(client: FlaskClient, user: str) -> None:
    response = client.get(JOBS, headers={"X-User-Id": user})
    assert response.status_code == 400
    assert list(response.json["errors"]) == ["X-User-Id"]


@pytest.mark.parametrize("user", ["ann", "ann@example.com", "auth0|6-a:b/c+d=e~f"])
def test_a_valid_user_id_is_accepted(client: FlaskClient, user: str) -> None:
    assert client.get(JOBS, headers={"X-User-Id": user}).status_code == 200


def test_cross_origin_requests_are_not_allowed_by_default(client: FlaskClient) -> None:
    response = client.get(JOBS, headers={"Origin": "https://app.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("allowed", "other"),
    [
        ("http://[::1]:5173", "http://1:5173"),
        ("https://app.example", "https://app.example.evil.test"),
        ("https://app.example", "https://appxexample"),
        ("https://a.example?", "https://a.exampl"),
    ],
)
def test_an_origin_is_compared_whole_and_never_as_a_pattern(
    make_app: Callable[..., Flask], allowed: str, other: str
) -> None:
    client = make_app(cors_origins=allowed).test_client()
    name = "Access-Control-Allow-Origin"
    assert client.get("/nowhere", headers={"Origin": allowed}).headers[name] == allowed
    assert name not in client.get("/nowhere", headers={"Origin": other}).headers


def test_an_origin_with_a_wildcard_stops_the_start(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingError, match="list each origin"):
        make_app(cors_origins="https://*.app.example")


@pytest.mark.parametrize("path", ["/", "/docs/problems", "/openapi.json", "/nowhere", JOBS])
def test_everything_but_probes_is_rejected_beyond_the_limit(
    make_app: Callable[..., Flask], path: str
) -> None:
    client = make_app(requests_per_minute_ip=2).test_client()
    for _ in range(2):
        client.get(path)
    response = client.get(path)
    assert (response.status_code, response.json["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(response.headers["Retry-After"]) >= 1
    for probe in ("/health/live", "/health", "/health/ready", "/metrics"):
        assert client.get(probe, headers=OPERATOR).status_code == 200


def test_a_configured_origin_may_send_requests_and_read_the_headers(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app(cors_origins="https://app.example, https://b.example").test_client()
    response = client.get("/nowhere", headers={"Origin": "https://app.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "ETag" in response.headers["Access-Control-Expose-Headers"]
    other = client.get(JOBS, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_responses_vary_by_origin(make_app: Callable[..., Flask]) -> None:
    client = make_app(cors_origins="http://a.example").test_client()
    for headers in ({}, {"Origin": "http://a.example"}, {"Origin": "http://b.example"}):
        assert "Origin" in client.get("/health/live", headers=headers).vary


def test_a_preflight_request_is_allowed(make_app: Callable[..., Flask]) -> None:
    client = make_app(cors_origins="https://app.example").test_client()
    response = client.options(
        "/v1/download/initiate",
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, idempotency-key",
        },
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "idempotency-key" in response.headers["Access-Control-Allow-Headers"]
    assert "DELETE" in response.headers["Access-Control-Allow-Methods"]


def test_forwarded_addresses_are_used_only_behind_trusted_proxies(
    make_app: Callable[..., Flask],
) -> None:
    def left(client: FlaskClient, address: str) -> Any:
        return client.get(JOBS, headers={"X-Forwarded-For": address}).headers["RateLimit-Remaining"]

    direct = make_app().test_client()
    assert [left(direct, "1.1.1.1"), left(direct, "2.2.2.2")] == ["5999", "5998"]
    behind = make_app(trusted_proxies=1, requests_per_minute_ip=100).test_client()
    assert [left(behind, "1.1.1.1"), left(behind, "2.2.2.2")] == ["99", "99"]
    assert left(behind, "6.6.6.6, 1.1.1.1") == "98"


def test_strict_transport_security_is_sent_over_tls_only(make_app: Callable[..., Flask]) -> None:
    client = make_app(trusted_proxies=1).test_client()
    assert "Strict-Transport-Security" not in client.get("/").headers
    secure = client.get("/", headers={"X-Forwarded-Proto": "https"})
    assert "max-age" in secure.headers["Strict-Transport-Security"]


def test_a_request_over_the_limit_gets_429_with_retry_after(make_app: Callable[..., Flask]) -> None:
    client = make_app(requests_per_minute_ip=2).test_client()
    responses = [client.get(JOBS) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    rejected = responses[2]
    assert rejected.json["code"] == "RATE_LIMIT_EXCEEDED"
    assert rejected.headers["Retry-After"] == rejected.headers["RateLimit-Reset"]
    assert rejected.headers["RateLimit-Remaining"] == "0"
    assert client.get("/health/live").status_code == 200


def test_new_jobs_are_limited_by_user_and_by_address(make_app: Callable[..., Flask]) -> None:
    client = make_app(create_per_minute_user=2, create_per_minute_ip=3).test_client()

    def create(user: str) -> Any:
        response = client.post(
            "/v1/download/initiate", json={"file_id": 1}, headers={"X-User-Id": user}
        )
        return response.status_code, response.headers["RateLimit-Limit"]

    assert [create("ann"), create("ann"), create("ann")] == [(202, "2"), (202, "2"), (429, "2")]
    assert create("bob") == (429, "3")
