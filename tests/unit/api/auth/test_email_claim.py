"""The address that emails about a job go to: only from the caller's token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from redis import Redis

from common.job_store import keys
from common.settings import SettingError
from tests.unit.api.auth.test_authorization import SECRET, bearer

INITIATE = "/v1/download/initiate"
JWT = {"auth_mode": "jwt", "jwt_secret": SECRET, "jwt_audience": "longhaul"}


def stored_address(
    make_app: Callable[..., Flask], redis: Redis, claims: dict[str, Any], **settings: Any
) -> Any:
    client = make_app(**JWT, **{"email_claim": "email", **settings}).test_client()
    response = client.post(INITIATE, json={"file_ids": [1]}, headers=bearer("ada", **claims))
    assert "ada@example.com" not in response.text
    return redis.hget(keys.status(response.json["jobId"]), "email")


def test_the_address_is_taken_from_the_claim_and_never_shown(
    make_app: Callable[..., Flask], redis: Redis
) -> None:
    assert stored_address(make_app, redis, {"email": "ada@example.com"}) == "ada@example.com"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"email": "ada@example.com\r\nBcc: eve@example.com"},
        {"email": ["ada@example.com"]},
        {"email": "ada@example.com", "email_verified": False},
        {"email": "ada@example.com", "email_verified": "false"},
        {"mail": "ada@example.com"},
    ],
)
def test_other_claims_are_ignored(
    make_app: Callable[..., Flask], redis: Redis, claims: dict[str, Any]
) -> None:
    assert stored_address(make_app, redis, claims) is None


def test_no_claim_is_read_without_the_setting(make_app: Callable[..., Flask], redis: Redis) -> None:
    claims = {"email": "ada@example.com", "": "ada@example.com"}
    assert stored_address(make_app, redis, claims, email_claim="") is None


def test_a_request_cannot_name_an_address(make_app: Callable[..., Flask]) -> None:
    client = make_app(**JWT, email_claim="email").test_client()
    body = {"file_ids": [1], "email": "eve@example.com"}
    response = client.post(INITIATE, json=body, headers=bearer("ada"))
    assert (response.status_code, list(response.json["errors"])) == (400, ["email"])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"email_claim": "email"}, "AUTH_MODE"),
        ({"smtp_url": "smtps://x"}, "PUBLIC_URL"),
        ({"smtp_url": "smtps://x", "public_url": "https://a.b"}, "EMAIL_TO"),
        (
            {"smtp_url": "smtps://x", "public_url": "https://a.b", "email_to": "a@b.c"},
            "EMAIL_FROM",
        ),
        (
            {
                "smtp_url": "smtps://x",
                "public_url": "https://a.b",
                "email_to": "a@b.c\nBcc: x@y.z",
                "email_from": "a@b.c",
            },
            "EMAIL_TO",
        ),
    ],
)
def test_settings_that_do_not_fit_stop_the_start(
    make_app: Callable[..., Flask], wrong: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingError, match=named):
        make_app(**wrong)
