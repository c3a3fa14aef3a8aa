"""The keys of an issuer over HTTP: cached, rotated, slow, malformed, or unavailable."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from api.auth import jwks
from api.auth.jwks import COOLDOWN, MAX_AGE, RemoteKeys
from common.errors import BackendUnavailable
from tests.support.raw_origin import RawOrigin, response
from tests.unit.api.auth.test_jwt_tokens import EC, RSA, public


class Issuer:
    """Serves ``keys`` or ``body`` and counts the requests."""

    def __init__(self) -> None:
        self.keys: list[Any] = [public(RSA, "r1")]
        self.body: bytes | None = None
        self.status = 200
        #: Seconds before each byte.
        self.trickle = 0.0
        self.requests = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                body = issuer.body or json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                try:
                    for start in range(0, len(body), 64 if issuer.trickle else len(body)):
                        time.sleep(issuer.trickle)
                        self.wfile.write(
                            body[start : start + (64 if issuer.trickle else len(body))]
                        )
                except OSError:
                    return

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> RemoteKeys:
    return RemoteKeys(issuer.url, clock=clock)


def test_keys_are_fetched_once_for_many_tokens(keys: RemoteKeys, issuer: Issuer) -> None:
    assert all(keys.find("r1") for _ in range(5))
    assert issuer.requests == 1


def test_a_new_key_is_fetched_when_a_token_uses_it(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    assert keys.find("r1")
    issuer.keys = [public(EC, "e2")]
    clock.now += COOLDOWN
    found = keys.find("e2")
    assert found is not None
    assert found.algorithm_name == "ES256"
    assert keys.find("r1") is None


def test_unknown_key_ids_do_not_cause_repeated_fetches(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    for number in range(50):
        assert keys.find(f"made-up-{number}") is None
    assert issuer.requests == 1
    clock.now += COOLDOWN
    assert keys.find("made-up") is None
    assert issuer.requests == 2


def test_a_withdrawn_key_is_dropped_when_the_keys_expire(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    assert keys.find("r1")
    issuer.keys = []
    assert keys.find("r1")
    clock.now += MAX_AGE + 1
    assert keys.find("r1") is None


def test_expired_keys_are_used_while_the_issuer_is_unavailable(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    assert keys.find("r1")
    issuer.status = 500
    clock.now += MAX_AGE + 1
    assert keys.find("r1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, None),
        (302, None),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"keys": 5}'),
        (200, b" " * 300_000),
    ],
)
def test_without_keys_authentication_is_unavailable(
    keys: RemoteKeys, issuer: Issuer, status: int, body: bytes | None
) -> None:
    issuer.status, issuer.body = status, body
    with pytest.raises(BackendUnavailable):
        keys.find("r1")


def test_a_slow_issuer_times_out(keys: RemoteKeys, issuer: Issuer) -> None:
    issuer.trickle = 0.3
    started = time.monotonic()
    with pytest.raises(BackendUnavailable):
        keys.find("r1")
    assert time.monotonic() - started < jwks.TIMEOUT + 1


def test_a_name_that_cannot_be_resolved_in_time_makes_nobody_wait_longer(
    keys: RemoteKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve_slowly(*_: object, **__: object) -> Any:
        time.sleep(jwks.TIMEOUT + 2)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", resolve_slowly)
    started = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(keys.find, "r1") for _ in range(5)]
        for caller in waiting:
            with pytest.raises(BackendUnavailable):
                caller.result()
    assert time.monotonic() - started < jwks.TIMEOUT + 1


def test_only_public_signature_keys_with_supported_algorithms_are_used(
    keys: RemoteKeys, issuer: Issuer
) -> None:
    issuer.keys = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
        public(RSA, "encryption") | {"use": "enc"},
        public(RSA, "weak-hash", alg="RS1"),
        public(RSA, "other", alg="RS512"),
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        "nonsense",
        public(RSA, "listed") | {"kid": ["listed"]},
        public(RSA, "good"),
    ]
    assert keys.find("good")
    for kid in ("secret", "encryption", "weak-hash", "other", "broken"):
        assert keys.find(kid) is None


def test_a_token_without_a_key_id_is_verified_with_the_only_key(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    assert keys.find(None)
    issuer.keys.append(public(rsa.generate_private_key(65537, 2048), "r2"))
    clock.now += MAX_AGE + 1
    assert keys.find(None) is None


def test_interim_responses_are_skipped() -> None:
    """RFC 9110, 15.2."""
    body = json.dumps({"keys": [public(RSA, "r1")]}).encode()
    issuer = RawOrigin(lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(body))
    try:
        assert RemoteKeys(issuer.url).find("r1")
    finally:
        issuer.close()
