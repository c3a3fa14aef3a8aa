"""AUTHORIZE_URL: signed requests, remembered decisions, and no files without a valid decision.

The same rule as Envoy's ext_authz with failure_mode_allow: false, and nginx's auth_request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from common.authorization import AuthorizationService
from common.authorization import service as service_module
from common.errors import BackendUnavailable
from tests.support import authorization_service
from tests.support.authorization_service import (
    SECRET,
    AuthorizationServer,
    break_off,
    drip,
    hang,
    respond,
)


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_service.running() as server:
        server.rights = {"alice": {1, 2, 3}}
        yield server


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(server: AuthorizationServer, clock: Clock) -> AuthorizationService:
    return AuthorizationService(server.url, secret=SECRET, cache_seconds=5, clock=clock)


def test_one_signed_request_asks_about_all_files(
    server: AuthorizationServer, service: AuthorizationService
) -> None:
    claims = service.select_claims({"sub": "alice", "role": "editor"})
    assert service.denied("alice", claims, [1, 7, 3]) == {7}
    assert server.requests == [
        {"user": "alice", "claims": {"sub": "alice", "role": "editor"}, "file_ids": [1, 7, 3]}
    ]
    # Raises an error if the signature or the timestamp is wrong.
    Webhook(SECRET).verify(server.bodies[0], server.headers[0])


def test_decisions_are_remembered_for_some_seconds_by_user_claims_and_file(
    server: AuthorizationServer, service: AuthorizationService, clock: Clock
) -> None:
    assert service.denied("alice", "{}", [1, 7]) == {7}
    assert service.denied("alice", "{}", [7, 1, 2]) == {7}
    assert [each["file_ids"] for each in server.requests] == [[1, 7], [2]]
    service.denied("bob", "{}", [1])
    service.denied("alice", '{"role":"x"}', [1])
    assert len(server.requests) == 4
    server.rights["alice"] = {7}
    clock.now = 4.9
    assert service.denied("alice", "{}", [1, 7]) == {7}
    clock.now = 5.0
    assert service.denied("alice", "{}", [1, 7]) == {1}


def test_the_cache_is_bounded(
    service: AuthorizationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "MAX_CACHED", 10)
    for first in range(1, 200, 20):
        service.denied("alice", "{}", list(range(first, first + 20)))
    assert len(service._cache._decisions) == 10


@pytest.mark.parametrize(
    ("decision", "denied"),
    [
        # A file that is not mentioned is not allowed.
        ({"allowed": [1]}, {2, 3}),
        ({"allowed": [1], "denied": [2]}, {2, 3}),
        # Contradictions.
        ({"allowed": [1, 2, 3], "denied": [2]}, {2}),
        # Files that were not asked about.
        ({"allowed": [1, 2, 3, 4, 5]}, set()),
        ({"allowed": [], "denied": []}, {1, 2, 3}),
    ],
    ids=str,
)
def test_only_files_that_are_clearly_allowed_are_allowed(
    server: AuthorizationServer,
    service: AuthorizationService,
    decision: dict[str, Any],
    denied: set[int],
) -> None:
    server.misbehave = respond(json.dumps(decision).encode())
    assert service.denied("alice", "{}", [1, 2, 3]) == denied


def test_a_decision_about_other_files_is_not_remembered(
    server: AuthorizationServer, service: AuthorizationService
) -> None:
    server.misbehave = respond(b'{"allowed": [1, 9]}')
    service.denied("alice", "{}", [1])
    server.misbehave = None
    assert service.denied("alice", "{}", [9]) == {9}


EVERYTHING = b'{"allowed": [1, 2, 3]}'
MISBEHAVIORS: dict[str, Callable[[Any], None]] = {
    "500": respond(EVERYTHING, 500),
    "403": respond(EVERYTHING, 403),
    "204": respond(b"", 204),
    "201": respond(EVERYTHING, 201),
    "redirect": respond(EVERYTHING, 307, Location="/authorize"),
    "empty": respond(b""),
    "no JSON": respond(b"yes"),
    "a list": respond(b"[1, 2, 3]"),
    "true": respond(b'{"allowed": true}'),
    "star": respond(b'{"allowed": "*"}'),
    "only denied": respond(b'{"denied": []}'),
    "strings": respond(b'{"allowed": ["1", "2", "3"]}'),
    "booleans": respond(b'{"allowed": [true]}'),
    "floats": respond(b'{"allowed": [1.0, 2.0]}'),
    "null denied": respond(b'{"allowed": [1, 2, 3], "denied": null}'),
    "deeply nested": respond(b"[" * 100_000),
    "too large": respond(b'{"allowed": [1, 2, 3]}'.ljust(300_000)),
    "cut off": break_off,
    "byte by byte": drip,
    "silent": hang,
}


@pytest.mark.parametrize("misbehave", MISBEHAVIORS.values(), ids=MISBEHAVIORS)
def test_without_a_valid_decision_within_two_seconds_nobody_gets_anything(
    server: AuthorizationServer, service: AuthorizationService, misbehave: Callable[[Any], None]
) -> None:
    server.misbehave = misbehave
    started = time.monotonic()
    with pytest.raises(BackendUnavailable) as failure:
        service.denied("alice", "{}", [1, 2, 3])
    assert time.monotonic() - started < service_module.TIMEOUT + 1.5
    assert failure.value.retry_after == service_module.RETRY_AFTER
    # The failure is not remembered.
    server.misbehave = None
    assert service.denied("alice", "{}", [1, 2, 3]) == frozenset()


def test_a_service_that_is_down_denies(server: AuthorizationServer) -> None:
    service = AuthorizationService("http://127.0.0.1:9/", secret=SECRET, cache_seconds=5)
    with pytest.raises(BackendUnavailable):
        service.denied("alice", "{}", [1])


def test_requests_that_hang_do_not_accumulate(
    server: AuthorizationServer, service: AuthorizationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "TIMEOUT", 0.2)
    server.misbehave = hang
    for _ in range(service_module.MAX_REQUESTS + 3):
        service._slots.acquire(blocking=False)
    started = time.monotonic()
    with pytest.raises(BackendUnavailable):
        service.denied("alice", "{}", [1])
    assert time.monotonic() - started < 1
    assert server.requests == []


@pytest.mark.parametrize("secret", ["whsec_!", "whsec_", "whsec_YWJj whsec_a"])
def test_a_malformed_secret_is_rejected(secret: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|data|empty"):
        AuthorizationService("http://localhost", secret=secret, cache_seconds=5)
