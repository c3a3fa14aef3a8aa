"""What every request and every answer goes through: identity, limits, headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, g, request

from api.auth import authorization
from api.auth.callers import ANONYMOUS, Caller
from api.dependencies import deps
from api.rate_limits import RateLimit, raise_if_exceeded

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from api.cors import CorsHeaders

#: For JSON, which no browser has to render; a page sets its own policy.
POLICY: Final = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
TRANSPORT_SECURITY: Final = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
PAGE_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SAME: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
_SAME_LINES: Final = "".join(f"{name}: {value}\r\n" for name, value in (*_SAME, POLICY))
_SECURE_LINE: Final = "{}: {}\r\n".format(*TRANSPORT_SECURITY)

#: The key of a ``FastPathRejection`` in the WSGI environment.
FAST_PATH_REJECTION: Final = "longhaul.fast_path_rejection"


@dataclass(frozen=True)
class FastPathRejection:
    """The fast path counted a request and rejected it; Flask has to render the error."""

    error: Exception
    rate: RateLimit


def install(app: Flask) -> None:
    app.before_request(_receive)
    app.after_request(_finish)


def _receive() -> None:
    context = deps()
    g.caller = Caller(ANONYMOUS)
    rejection: FastPathRejection | None = request.environ.get(FAST_PATH_REJECTION)
    if rejection is not None:
        g.rate = rejection.rate
        raise rejection.error
    g.rate = context.rate_limiter.count_request(client_address())
    if not request.path.startswith("/v1/"):
        return
    context.rate_limiter.sync_counts()
    raise_if_exceeded(g.rate)
    # A preflight carries no credentials, and its answer is the same for everybody.
    if request.method != "OPTIONS":
        authorization.admit()


def count_creation() -> None:
    """Count this request against the limits for new jobs. Raises ``RateLimited``."""
    limiter = deps().rate_limiter
    creation = limiter.count_creation(client_address())
    limiter.count_for_user(g.caller.user, creation)
    g.rate = creation.rate
    raise_if_exceeded(g.rate)


def client_address() -> str:
    return request.remote_addr or "unknown"


def common_headers(request_id: str, rate: RateLimit) -> list[tuple[str, str]]:
    """What every answer carries."""
    return [
        ("X-Request-ID", request_id),
        ("RateLimit-Limit", str(rate.limit)),
        ("RateLimit-Remaining", str(max(0, rate.remaining))),
        ("RateLimit-Reset", str(rate.reset)),
        *_SAME,
    ]


def common_header_lines(
    environ: WSGIEnvironment, request_id: str, rate: RateLimit, cors: CorsHeaders, *, caching: str = ""
) -> str:
    """Return the same lines that Flask's hooks add; ``caching``: a Cache-Control line, if any."""
    secure = _SECURE_LINE if environ["wsgi.url_scheme"] == "https" else ""
    return (
        f"{cors.lines(environ)}X-Request-ID: {request_id}\r\nRateLimit-Limit: {rate.limit}\r\n"
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
