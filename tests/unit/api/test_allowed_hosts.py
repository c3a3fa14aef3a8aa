"""Which Host headers the API accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from api.allowed_hosts import AllowedHosts, for_server

INITIATE = "/v1/download/initiate"


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1:8080", "127.8.9.10", ""),
        *("[::1]", "[::1]:8080", "downloads.example", "Downloads.Example:443", "b.example", "c:1"),
    ],
)
def test_names_of_this_machine_and_configured_names_are_allowed(host: str) -> None:
    hosts = AllowedHosts("b.example, C", public_url="https://downloads.example/base")
    assert hosts.allow(host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("localhost@evil.example", "evil.example#localhost", "192.168.0.7", "[::2]", "0.0.0.0"),  # noqa: S104
        *("128.0.0.1", "127.0.0.1,evil.example", "[::1", "x" * 300, "notb.example"),
    ],
)
def test_other_names_are_rejected(host: str) -> None:
    """A page can make its own name resolve to 127.0.0.1, but the browser sends that name."""
    assert not AllowedHosts("b.example", public_url="https://downloads.example").allow(host)


@pytest.mark.parametrize(
    ("address", "requires_tokens", "checked"),
    [
        *(("127.0.0.1", False, True), ("::1", False, True), ("localhost", False, True)),
        ("0.0.0.0", False, False),  # noqa: S104
        *(("::", False, False), ("10.0.0.1", False, False)),
        ("127.0.0.1", True, False),
    ],
)
def test_only_a_local_server_without_tokens_checks_names(
    address: str, requires_tokens: bool, checked: bool
) -> None:
    hosts = for_server(address, "", public_url="", requires_tokens=requires_tokens)
    assert hosts.allow("evil.example") is not checked


@pytest.mark.parametrize("path", ["/", INITIATE, "/v1/download/jobs", "/metrics", "/health"])
def test_request_to_another_name_is_misdirected(make_app: Callable[..., Flask], path: str) -> None:
    """RFC 9110, 15.5.20."""
    client = make_app().test_client()
    headers = {"Host": "evil.example:8080"}
    options: dict[str, Any] = {"json": {"file_ids": [1]}} if path == INITIATE else {}
    response = client.open(path, method="POST" if options else "GET", headers=headers, **options)
    assert (response.status_code, response.json["code"]) == (421, "HOST_NOT_ALLOWED")
    assert "ALLOWED_HOSTS" in response.json["detail"]
    assert response.headers["X-Request-ID"]


def test_configured_name_gets_its_response(make_app: Callable[..., Flask]) -> None:
    client = make_app(allowed_hosts="files.lan").test_client()
    response = client.get("/v1/download/jobs", headers={"Host": "files.lan:8080"})
    assert response.status_code == 200
