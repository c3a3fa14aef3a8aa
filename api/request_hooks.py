"""What every request and every answer goes through: identity, limits, headers."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, g, request

from api import telemetry
from api.auth import authorization
from api.auth.callers import ANONYMOUS, Caller
from api.dependencies import deps
from api.rate_limits import Rate, refuse_excess

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_SANE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")

#: For JSON, which no browser has to render; a page sets its own policy.
POLICY: Final = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
TRANSPORT_SECURITY: Final = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
PAGE_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
EXPOSED_HEADERS: Final = (
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
)


_SAME: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
_SAME_LINES: Final = "".join(f"{name}: {value}\r\n" for name, value in (*_SAME, POLICY))
_SECURE_LINE: Final = "{}: {}\r\n".format(*TRANSPORT_SECURITY)

#: Where a ``Refusal`` stands in the WSGI environment.
FAST_PATH_REJECTION: Final = "longhaul.refusal"


@dataclass(frozen=True)
class FastPathRejection:
    """A request was counted and refused ahead of Flask, which has to say so."""

    error: Exception
    rate: Rate


def install(app: Flask) -> None:
    app.before_request(_receive)
    app.after_request(_finish)


def _receive() -> None:
    context = deps()
    g.request_id = request_id(request.headers.get("X-Request-ID", ""))
    telemetry.name_request(g.request_id)
    g.caller = Caller(ANONYMOUS)
    refusal: FastPathRejection | None = request.environ.get(FAST_PATH_REJECTION)
    if refusal is not None:
        g.rate = refusal.rate
        raise refusal.error
    g.rate = context.limiter.any_request(client_address())
    if not request.path.startswith("/v1/"):
        return
    context.limiter.exchange()
    refuse_excess(g.rate)
    # A preflight carries no credentials, and its answer is the same for everybody.
    if request.method != "OPTIONS":
        authorization.admit()


def count_creation() -> None:
    """Count this request against the limits for new jobs. Raises ``RateLimited``."""
    limiter = deps().limiter
    creation = limiter.creating(client_address())
    limiter.count(g.caller.user, creation)
    g.rate = creation.rate
    refuse_excess(g.rate)


def client_address() -> str:
    return request.remote_addr or "unknown"


def request_id(asked: str) -> str:
    """The caller's own, if it is sane; else a UUID, which need not be hard to guess."""
    if _SANE_REQUEST_ID.match(asked):
        return asked
    # 4 µs less than uuid4(), which asks the kernel.
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def common_headers(request_id: str, rate: Rate) -> list[tuple[str, str]]:
    """What every answer carries."""
    return [
        ("X-Request-ID", request_id),
        ("RateLimit-Limit", str(rate.limit)),
        ("RateLimit-Remaining", str(max(0, rate.remaining))),
        ("RateLimit-Reset", str(rate.reset)),
        *_SAME,
    ]


def common_lines(environ: WSGIEnvironment, rate: Rate, *, caching: str = "") -> str:
    """The same as ``_finish`` adds them, for a ``Prepared``; ``caching``: one more line."""
    asked = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    secure = _SECURE_LINE if environ["wsgi.url_scheme"] == "https" else ""
    return (
        f"X-Request-ID: {asked}\r\nRateLimit-Limit: {rate.limit}\r\n"
        f"RateLimit-Remaining: {max(0, rate.remaining)}\r\nRateLimit-Reset: {rate.reset}\r\n"
        f"{_SAME_LINES}{caching}{secure}"
    )


def _finish(response: Response) -> Response:
    headers = response.headers
    headers.extend(common_headers(g.request_id, g.rate))
    if POLICY[0] not in headers:
        headers.add(*POLICY)
    if "Cache-Control" not in headers:
        headers.add("Cache-Control", "no-store")
    if request.is_secure:
        headers.add(*TRANSPORT_SECURITY)
    return response
