"""The link that signs in to the local page."""

from __future__ import annotations

import jwt
import pytest

from stack.__main__ import sign_in_link

SECRET = "a secret of at least thirty-two bytes"


def test_there_is_a_link_only_if_the_stack_can_sign_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_MODE", "none")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    assert sign_in_link("http://127.0.0.1:8080") is None
    monkeypatch.setenv("AUTH_MODE", "jwt")
    monkeypatch.setenv("JWT_SECRET", "")
    assert sign_in_link("http://127.0.0.1:8080") is None


def test_the_link_contains_a_token_that_the_api_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_MODE", "jwt")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("JWT_AUDIENCE", "longhaul")
    link = sign_in_link("http://127.0.0.1:8080")
    assert link
    page, _, token = link.partition("/#token=")
    assert page == "http://127.0.0.1:8080"
    claims = jwt.decode(token, SECRET, ["HS256"], audience="longhaul")
    assert claims["sub"] == "demo"
