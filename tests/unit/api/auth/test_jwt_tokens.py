"""Which tokens are valid: signature, algorithm, expiry, audience, and issuer."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from api.auth import jwt_tokens
from api.auth.callers import is_user_id, user_key
from api.auth.jwt_tokens import JwtAuthenticator, SharedSecret
from api.errors import Unauthorized

SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
RSA_PEM = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def public(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if key is not EC else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **more}


class FixedKeys:
    def __init__(self, *keys: dict[str, Any]) -> None:
        self._keys = {key["kid"]: jwt.PyJWK(key) for key in keys}

    def find(self, key_id: str | None) -> jwt.PyJWK | None:
        return self._keys.get(key_id or "")


def claims(**changes: Any) -> dict[str, Any]:
    good = {"sub": "alice", "aud": "longhaul", "iss": "https://id.example", "exp": time.time() + 60}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def authorization(token: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def user_of(token: str, keys: Any = None, *, leeway: float = 0.0) -> str:
    authenticator = JwtAuthenticator(
        keys or SharedSecret(SECRET),
        audience="longhaul",
        issuer="https://id.example",
        leeway=leeway,
    )
    return authenticator.identify(authorization(token)).user


def signed(
    payload: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **header: Any
) -> str:
    return jwt.encode(payload, key, algorithm, headers=header or None)


REMOTE = FixedKeys(public(RSA, "r1"), public(EC, "e1"))


def test_a_valid_token_identifies_its_user() -> None:
    assert user_of(signed(claims())) == "alice"
    assert user_of(signed(claims(), RSA, "RS256", kid="r1"), REMOTE) == "alice"
    assert user_of(signed(claims(), EC, "ES256", kid="e1"), REMOTE) == "alice"
    assert user_of(signed(claims(aud=["other", "longhaul"]))) == "alice"


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": time.time() - 3_600},
        {"exp": None},
        {"nbf": time.time() + 3_600},
        {"aud": "others"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        # A NumericDate is a JSON number (RFC 7519, 2).
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 10**400},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": [9_999_999_999]},
        {"nbf": "1"},
        {"nbf": float("-inf")},
        {"iat": "1"},
        {"iat": -1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_token_with_an_invalid_claim_is_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        user_of(jwt.api_jws.encode(json.dumps(claims(**wrong)).encode(), SECRET, "HS256"))


@pytest.mark.parametrize("subject", ["alice", "auth0|5f7c", "a@example.com", "x" * 128])
def test_subject_that_is_a_user_id_is_the_user(subject: str) -> None:
    assert user_of(signed(claims(sub=subject))) == subject


SUBJECTS = [
    *("a b", "a\n", "x" * 129, "Jürgen", "Ju\u0308rgen", "\0", " ", "用户", "a,b", "a{b}", "'"),
    *("https://id.example/users?id=7", "CN=Ann Lee, O=Example", "\ud800", "x" * 4_000),
]


def test_subject_may_be_any_string() -> None:
    """RFC 7519, 4.1.2: it is a case-sensitive string, compared as it is."""
    users = {user_of(signed(claims(sub=subject))) for subject in SUBJECTS}
    assert len(users) == len(SUBJECTS)
    assert all(is_user_id(user) for user in users)
    assert users == {user_of(signed(claims(sub=subject))) for subject in SUBJECTS}


def test_nobody_becomes_another_user_by_a_subject_that_looks_like_a_digest() -> None:
    newest = {user_of(signed(claims(sub=subject))) for subject in SUBJECTS}
    users = newest
    for _ in range(3):
        newest = {user_of(signed(claims(sub=user))) for user in newest}
        assert newest.isdisjoint(users)
        users = users | newest
    assert user_of(signed(claims(sub="sha256:x"))) != "sha256:x"


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_subjects_are_different_users(one: str, other: str) -> None:
    assert (user_key(one) == user_key(other)) is (one == other)
    assert is_user_id(user_key(one))


def test_token_of_8_kilobytes_is_accepted() -> None:
    filler = jwt_tokens.MAX_TOKEN_LENGTH
    token = ""
    while not token or len(token) > jwt_tokens.MAX_TOKEN_LENGTH:
        filler -= 1 if len(token) < jwt_tokens.MAX_TOKEN_LENGTH + 8 else 4
        token = signed(claims(filler="x" * filler))
    assert len(token) > jwt_tokens.MAX_TOKEN_LENGTH - 8
    assert user_of(token) == "alice"


def test_clocks_may_differ_by_the_leeway() -> None:
    token = signed(claims(exp=time.time() - 5))
    assert user_of(token, leeway=30) == "alice"
    with pytest.raises(Unauthorized, match="expired"):
        user_of(token, leeway=1)


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", None, "HS384", "RS256", 5])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_other_algorithms_and_missing_signatures_are_rejected(alg: Any, signature: str) -> None:
    header = {"typ": "JWT"} if alg is None else {"typ": "JWT", "alg": alg}
    for keys in (SharedSecret(SECRET), REMOTE):
        for kid in ({}, {"kid": "r1"}):
            with pytest.raises(Unauthorized):
                user_of(f"{encoded(header | kid)}.{encoded(claims())}.{signature}", keys)


def test_a_public_key_is_not_accepted_as_a_secret() -> None:
    forged = jwt.api_jws.PyJWS()
    forged.get_algorithm_by_name("HS256").prepare_key = lambda key: key  # type: ignore[method-assign]
    token = forged.encode(json.dumps(claims()).encode(), RSA_PEM, "HS256", headers={"kid": "r1"})
    with pytest.raises(Unauthorized):
        user_of(token, REMOTE)


def test_a_key_verifies_only_its_own_algorithm() -> None:
    rs512 = signed(claims(), RSA, "RS512", kid="r1")
    with pytest.raises(Unauthorized):
        user_of(rs512, REMOTE)


def test_a_signature_by_another_key_is_rejected() -> None:
    for token in (
        signed(claims(), "another secret that is long enough"),
        signed(claims(), OTHER_RSA, "RS256", kid="r1"),
    ):
        with pytest.raises(Unauthorized):
            user_of(token, REMOTE if "cjEi" in token or "RS256" in token else None)
    with pytest.raises(Unauthorized):
        user_of(signed(claims(), RSA, "RS256", kid="unknown"), REMOTE)


def test_a_key_inside_the_token_is_ignored() -> None:
    token = signed(claims(), OTHER_RSA, "RS256", jwk=public(OTHER_RSA, "own"), kid="own")
    with pytest.raises(Unauthorized):
        user_of(token, REMOTE)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer a.b",
        "Bearer a.b.c.d",
        "Basic YTpi",
        "Bearer a.b.c, Bearer d.e.f",
        "Bearer " + "A" * 9_000 + ".b.c",
        "Bearer " + encoded(0).join("..") + ".x",
        "Bearer " + base64.urlsafe_b64encode(b"[" * 5_000).decode().rstrip("=") + ".e30.AA",
        "Bearer " + encoded({"alg": "HS256", "kid": []}) + ".e30.AA",
        "Bearer \xff.\xff.\xff",
    ],
)
def test_malformed_headers_are_unauthorized(header: str) -> None:
    authenticator = JwtAuthenticator(SharedSecret(SECRET), audience=None, issuer=None, leeway=0)
    with pytest.raises(Unauthorized):
        authenticator.identify({"HTTP_AUTHORIZATION": header})


def test_two_authorization_headers_are_rejected() -> None:
    good = f"Bearer {signed(claims())}"
    # As the server joins them (RFC 9110, 5.3).
    environ = {"HTTP_AUTHORIZATION": f"{good},{good}"}
    authenticator = JwtAuthenticator(SharedSecret(SECRET), audience=None, issuer=None, leeway=0)
    with pytest.raises(Unauthorized):
        authenticator.identify(environ)


class CountingKeys(FixedKeys):
    def __init__(self, *keys: dict[str, Any]) -> None:
        super().__init__(*keys)
        self.found = 0

    def find(self, key_id: str | None) -> jwt.PyJWK | None:
        self.found += 1
        return super().find(key_id)


@pytest.fixture
def counting() -> tuple[JwtAuthenticator, CountingKeys]:
    keys = CountingKeys(public(EC, "e1"))
    authenticator = JwtAuthenticator(
        keys, audience="longhaul", issuer="https://id.example", leeway=0.0
    )
    return authenticator, keys


def test_verified_token_is_verified_again_only_after_the_cache_time(
    counting: tuple[JwtAuthenticator, CountingKeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator, keys = counting
    environ = authorization(signed(claims(exp=time.time() + 3_600), EC, "ES256", kid="e1"))
    for _ in range(3):
        assert authenticator.identify(environ).user == "alice"
    assert keys.found == 1
    later = time.time() + jwt_tokens.CACHE_TTL + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert authenticator.identify(environ).user == "alice"
    assert keys.found == 2


def test_verified_token_is_rejected_once_it_expires(
    counting: tuple[JwtAuthenticator, CountingKeys],
) -> None:
    authenticator, _ = counting
    environ = authorization(signed(claims(exp=int(time.time()) + 2), EC, "ES256", kid="e1"))
    assert authenticator.identify(environ).user == "alice"
    time.sleep(2.1)
    with pytest.raises(Unauthorized):
        authenticator.identify(environ)


def test_token_that_was_not_verified_is_never_cached(
    counting: tuple[JwtAuthenticator, CountingKeys],
) -> None:
    authenticator, keys = counting
    good = signed(claims(), EC, "ES256", kid="e1")
    assert authenticator.identify(authorization(good)).user == "alice"
    head, payload, signature = good.split(".")
    other_payload = encoded({**claims(), "sub": "bob"})
    for forged in (f"{head}.{other_payload}.{signature}", f"{head}.{payload}.{'A' * 86}"):
        for _ in range(2):
            with pytest.raises(Unauthorized):
                authenticator.identify(authorization(forged))
    assert keys.found == 5


def test_number_of_cached_tokens_is_limited(
    counting: tuple[JwtAuthenticator, CountingKeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwt_tokens, "MAX_CACHED_TOKENS", 3)
    authenticator, _ = counting
    for number in range(8):
        token = signed(claims(sub=f"user-{number}"), EC, "ES256", kid="e1")
        assert authenticator.identify(authorization(token)).user == f"user-{number}"
        assert len(authenticator._verified) <= 3
