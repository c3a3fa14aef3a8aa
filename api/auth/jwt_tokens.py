"""AUTH_MODE=jwt: authentication by signed bearer tokens (RFC 6750, RFC 7519, RFC 8725)."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import jwt

from api.auth.callers import Caller, user_key
from api.errors import Forbidden, Unauthorized
from common.email_addresses import is_email_address

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from jwt import PyJWK

#: The scope of operators.
ADMIN_SCOPE: Final = "downloads:admin"
#: Bytes. Longer tokens are rejected without verification, to limit the work for each request.
MAX_TOKEN_LENGTH: Final = 8_192
#: Bytes. RFC 7518, 3.2: the key must be at least as long as the hash.
MIN_SECRET_LENGTH: Final = 32
#: Seconds since 1970. Larger numbers are not exact in JSON (RFC 8259, 6).
MAX_NUMERIC_DATE: Final = 2**53
#: Seconds for which a verified token is not verified again, though never beyond its expiry. Within
#: that time a key that the issuer withdrew may still be accepted.
CACHE_TTL: Final = 30.0
#: Verified tokens that a process remembers, about 200 bytes each, plus the claims that decide
#: about files.
MAX_CACHED_TOKENS: Final = 10_000

_BEARER = re.compile(r"Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *\Z", re.IGNORECASE)


class _VerifiedToken(NamedTuple):
    caller: Caller
    #: Seconds since 1970.
    valid_until: float


class Keys(Protocol):
    """Provides the keys that verify tokens."""

    def find(self, key_id: str | None) -> PyJWK | None:
        """Return the key with this ID, or None. Each key is bound to one algorithm."""


class SharedSecret:
    """A secret shared with the issuer, for HS256 only."""

    def __init__(self, secret: str) -> None:
        """Raises ``ValueError`` if the secret is too short to be safe."""
        if len(secret.encode()) < MIN_SECRET_LENGTH:
            raise ValueError(f"JWT_SECRET must be at least {MIN_SECRET_LENGTH} bytes long")
        encoded = jwt.utils.base64url_encode(secret.encode()).decode()
        self._key = jwt.PyJWK({"kty": "oct", "k": encoded}, algorithm="HS256")

    def find(self, key_id: str | None) -> PyJWK | None:  # noqa: ARG002
        return self._key


class JwtAuthenticator:
    """Verifies signature, algorithm, expiry, audience, and issuer of tokens.

    Error messages reveal little about why a token is rejected.
    """

    jobs_are_private = True

    def __init__(
        self,
        keys: Keys,
        *,
        audience: str | None,
        issuer: str | None,
        leeway: float,
        select_claims: Callable[[Mapping[str, Any]], str] = lambda _: "{}",
        plan_claim: str = "",
        email_claim: str = "",
    ) -> None:
        """``leeway``: seconds by which the clock of the issuer may differ.

        ``select_claims`` returns the claims that decide about files, as JSON. ``plan_claim``: the
        claim that names the user's plan; empty: none does. ``email_claim``: the claim with the
        user's address; empty: none.
        """
        self._plan_claim = plan_claim
        self._select_claims = select_claims
        self._email_claim = email_claim
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        #: By digest, so that no token stays in memory. Verifying one takes longer than everything
        #: else that a status poll does.
        self._verified: dict[bytes, _VerifiedToken] = {}

    def identify(self, environ: WSGIEnvironment) -> Caller:
        """Return the caller, who is the subject of the token.

        Raises ``Unauthorized``, and ``BackendUnavailable`` if the keys cannot be fetched.
        """
        value = environ.get("HTTP_AUTHORIZATION")
        if value is None:
            raise Unauthorized
        # The values of repeated headers are joined with commas, which no token contains.
        found = _BEARER.match(value)
        if found is None or len(found[1]) > MAX_TOKEN_LENGTH:
            raise Unauthorized(
                "The Authorization header must contain exactly one bearer token.", invalid=True
            )
        digest = hashlib.sha256(found[1].encode()).digest()
        verified = self._verified.get(digest)
        if verified is None or verified.valid_until <= time.time():
            verified = self._verify(found[1])
            if len(self._verified) >= MAX_CACHED_TOKENS:
                self._verified.clear()
            self._verified[digest] = verified
        return verified.caller

    def confirm(self, caller: Caller, user: str, environ: WSGIEnvironment) -> Caller:  # noqa: ARG002
        """Return the caller. Raise ``Forbidden`` if their token is not this user's."""
        if user_key(user) != caller.user:
            raise Forbidden(
                "user_id must be the subject (sub) of your token. Correct it or leave it out."
            )
        return caller

    def _verify(self, token: str) -> _VerifiedToken:
        claims = self._claims(token)
        for name in ("exp", "nbf", "iat"):
            if name in claims and not _is_numeric_date(claims[name]):
                raise Unauthorized(f"The token's {name} claim is not a valid time.", invalid=True)
        if not claims["sub"]:
            raise Unauthorized("The subject of the token is empty.", invalid=True)
        caller = Caller(
            user_key(claims["sub"]),
            admin=ADMIN_SCOPE in _scopes(claims),
            claims=self._select_claims(claims),
            plan=_text(claims.get(self._plan_claim)) if self._plan_claim else None,
            email=_email(claims, self._email_claim),
        )
        # `nbf` and `iat` need no second check: a token that is valid already stays so until `exp`.
        return _VerifiedToken(
            caller, min(int(claims["exp"]) + self._leeway, time.time() + CACHE_TTL)
        )

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise Unauthorized("The token was signed with an unknown key.", invalid=True)
            # The algorithm is that of the key, never the one in the token (RFC 8725, 3.1). That
            # rejects `none` as well as a public key used as an HMAC secret.
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
            raise Unauthorized("The token has expired. Get a new one.", invalid=True) from None
        # RecursionError: deeply nested JSON. OverflowError: infinity, which 1e999 is, as a time.
        except (jwt.PyJWTError, RecursionError, OverflowError):
            raise Unauthorized("The token is not valid.", invalid=True) from None


def _is_numeric_date(value: Any) -> bool:
    """Return whether a claim is a number (RFC 7519, 2): PyJWT accepts strings too."""
    return type(value) in (int, float) and 0 <= value <= MAX_NUMERIC_DATE


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _email(claims: Mapping[str, Any], name: str) -> str | None:
    """Return the email address in a claim, unless the token says that it is not verified.

    Such an address may be anyone's (OpenID Connect Core 1.0, 5.1).
    """
    address = claims.get(name) if name else None
    if not is_email_address(address) or claims.get("email_verified", True) is not True:
        return None
    return str(address)


def _scopes(claims: Mapping[str, Any]) -> Sequence[str]:
    """Return the scopes: ``scope``, separated by spaces (RFC 8693, 4.2), or ``scp``."""
    scopes = claims.get("scope", claims.get("scp", ""))
    if isinstance(scopes, str):
        return scopes.split()
    return [str(scope) for scope in scopes] if isinstance(scopes, list) else []
