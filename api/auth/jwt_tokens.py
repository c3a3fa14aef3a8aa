"""AUTH_MODE=jwt: the caller is the subject of a signed token (RFC 6750, RFC 7519, RFC 8725)."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import jwt

from api.auth.callers import USER_PATTERN, Caller
from api.errors import Unauthorized

if TYPE_CHECKING:
    from jwt import PyJWK
    from werkzeug.datastructures import Headers

#: The scope that makes an operator.
ADMIN_SCOPE: Final = "downloads:admin"
#: A longer one is refused unread, bytes: headers are bounded anyway, the work on them should be.
LONGEST_TOKEN: Final = 8_192
#: RFC 7518, 3.2: a key as long as the hash that it makes, bytes.
SHORTEST_SECRET: Final = 32
#: Seconds for which a verified token is not verified again, though never beyond its expiry. Within
#: that time a key that the issuer withdrew may still be accepted.
CACHE_TTL: Final = 30.0
#: Verified tokens that a process remembers, about 200 bytes each.
MAX_CACHED_TOKENS: Final = 10_000

_BEARER = re.compile(r"Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *\Z", re.IGNORECASE)
_USER = re.compile(USER_PATTERN[:-1] + r"\Z")


class _VerifiedToken(NamedTuple):
    caller: Caller
    #: Seconds since 1970.
    valid_until: float


class Keys(Protocol):
    """Where the keys come from that tokens are checked with."""

    def find(self, key_id: str | None) -> PyJWK | None:
        """The key of that id; each key is good for the one algorithm that it is bound to."""


class SharedSecret:
    """One secret that the issuer knows too: HS256 and nothing else."""

    def __init__(self, secret: str) -> None:
        """Raises ``ValueError`` for one that is too short to be safe."""
        if len(secret.encode()) < SHORTEST_SECRET:
            raise ValueError(f"JWT_SECRET has to have {SHORTEST_SECRET} bytes at least")
        encoded = jwt.utils.base64url_encode(secret.encode()).decode()
        self._key = jwt.PyJWK({"kty": "oct", "k": encoded}, algorithm="HS256")

    def find(self, key_id: str | None) -> PyJWK | None:  # noqa: ARG002
        return self._key


class JwtAuthenticator:
    """Checks signature, algorithm, expiry, audience and issuer; a refusal tells little of why."""

    jobs_are_private = True

    def __init__(
        self, keys: Keys, *, audience: str | None, issuer: str | None, leeway: float
    ) -> None:
        """``leeway``: seconds by which the issuer's clock may differ from ours."""
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        #: By digest, so that no token stays in memory. Verifying one takes longer than everything
        #: else that a status poll does.
        self._verified: dict[bytes, _VerifiedToken] = {}

    def identify(self, headers: Headers) -> Caller:
        """Raises ``Unauthorized``; ``BackendUnavailable`` where the keys cannot be had."""
        given = headers.getlist("Authorization")
        if not given:
            raise Unauthorized("A bearer token is required")
        found = _BEARER.match(given[0]) if len(given) == 1 else None
        if found is None or len(found[1]) > LONGEST_TOKEN:
            raise Unauthorized("Authorization has to be one bearer token", invalid=True)
        digest = hashlib.sha256(found[1].encode()).digest()
        verified = self._verified.get(digest)
        if verified is None or verified.valid_until <= time.time():
            verified = self._verify(found[1])
            if len(self._verified) >= MAX_CACHED_TOKENS:
                self._verified.clear()
            self._verified[digest] = verified
        return verified.caller

    def _verify(self, token: str) -> _VerifiedToken:
        claims = self._claims(token)
        user = claims["sub"]
        if not _USER.match(user):
            raise Unauthorized("The token's subject cannot be a user's name", invalid=True)
        caller = Caller(user, admin=ADMIN_SCOPE in _scopes(claims))
        # `nbf` and `iat` need no second check: what has begun stays begun.
        return _VerifiedToken(
            caller, min(int(claims["exp"]) + self._leeway, time.time() + CACHE_TTL)
        )

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise Unauthorized("The token's key is not known", invalid=True)
            # The algorithm is the key's, never the token's choice (RFC 8725, 3.1): so `none`, and
            # a public key taken for a secret, are refused.
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "sub"], "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthorized("The token has expired", invalid=True) from None
        except (jwt.PyJWTError, RecursionError):  # The latter: JSON nested a thousand deep.
            raise Unauthorized("The token is not acceptable", invalid=True) from None


def _scopes(claims: Mapping[str, Any]) -> Sequence[str]:
    """``scope`` by spaces (RFC 8693, 4.2), or ``scp`` in either form, as some issuers have it."""
    scopes = claims.get("scope", claims.get("scp", ""))
    if isinstance(scopes, str):
        return scopes.split()
    return [str(scope) for scope in scopes] if isinstance(scopes, list) else []
