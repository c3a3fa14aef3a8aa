"""Hooks of every request: rate limits, authentication, and common response headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from flask import Flask, Response, g, request

from api import job_creation, metrics
from api.auth import authorization
from api.auth.callers import ANONYMOUS, Caller
from api.dependencies import deps
from api.errors import HostNotAllowed
from api.limits.concurrency_limit import Client
from api.limits.rate_limits import RateLimit, network, raise_if_exceeded
from api.live.long_poll import WaitingClient
from api.server.connections import connection_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from api.cors import CorsHeaders

#: For JSON, which browsers do not render. Pages set their own policy.
CONTENT_SECURITY_POLICY: Final = (
    "Content-Security-Policy",
    "default-src 'none'; frame-ancestors 'none'",
)
TRANSPORT_SECURITY: Final = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
PAGE_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    # A hidden frame saves archives from the object storage, whose host may differ by link.
    "connect-src 'self'; frame-src 'self' http: https:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
_SECURITY_LINES: Final = "".join(
    f"{name}: {value}\r\n" for name, value in (*_SECURITY_HEADERS, CONTENT_SECURITY_POLICY)
)
_TRANSPORT_SECURITY_LINE: Final = "{}: {}\r\n".format(*TRANSPORT_SECURITY)

#: Paths of probes, which must not be rejected because of other clients at the same address.
UNLIMITED_PATHS: Final = frozenset({"/health", "/health/live", "/health/ready", metrics.PATH})
#: Entries of a list that count as one request: each costs time to read and present, or to look up.
ENTRIES_PER_REQUEST: Final = 10
#: The key of a ``FastPathCount`` in the WSGI environment.
FAST_PATH_COUNT: Final = "longhaul.fast_path_count"


class FastPathCount(NamedTuple):
    """The fast path counted a request before it left it to Flask."""

    rate: RateLimit
    #: Why the fast path rejected the request; Flask has to render the error.
    error: Exception | None = None


def install(app: Flask) -> None:
    """Register the hooks."""
    app.before_request(_check_request)
    app.after_request(_add_headers)


def _check_request() -> None:
    rate_limiter = deps().rate_limiter
    g.caller = Caller(ANONYMOUS)
    counted: FastPathCount | None = request.environ.get(FAST_PATH_COUNT)
    g.rate = counted.rate if counted else rate_limiter.count_request(client_address())
    if counted and counted.error:
        raise counted.error
    if not deps().allowed_hosts.allow(request.environ.get("HTTP_HOST", "")):
        raise HostNotAllowed
    # Not for pages, metrics and health checks, which have to respond while the job store is
    # unavailable.
    if request.path.startswith(("/v1/", "/d/")):
        rate_limiter.sync_counts()
    if request.path not in UNLIMITED_PATHS:
        raise_if_exceeded(g.rate)
    # A preflight has no credentials, and its response is the same for every caller.
    if authorization.applies_to(request.path) and request.method != "OPTIONS":
        authorization.authorize_request()


def require_creation_rate() -> None:
    """Count this request against the limits for new jobs. Raise ``RateLimited`` if exceeded."""
    limiter = deps().rate_limiter
    creation = job_creation.count_creation(deps(), g.caller, client_address())
    limiter.count_for_user(g.caller.user, creation)
    g.rate = creation.rate
    raise_if_exceeded(g.rate)


def require_list_rate(entries: int) -> None:
    """Count this request as one per ten entries of its list. Raise ``RateLimited`` if exceeded."""
    if further := max(0, entries - 1) // ENTRIES_PER_REQUEST:
        g.rate = deps().rate_limiter.count_request(client_address(), further)
        raise_if_exceeded(g.rate)


def client_address() -> str:
    """Return the IP address of the client; behind trusted proxies, as forwarded by them."""
    return request.remote_addr or "unknown"


def client() -> Client:
    """Return who sends this request, for limits of what is in progress.

    Callers without a user count as one user per address.
    """
    address = network(client_address())
    user = g.caller.user
    return Client(f"{ANONYMOUS} at {address}" if user == ANONYMOUS else user, address)


def waiting_client() -> WaitingClient:
    """Return who sends this request, for a response that has to wait."""
    return WaitingClient(client=client(), connection=connection_of(request.environ))


def common_headers(request_id: str, rate: RateLimit) -> list[tuple[str, str]]:
    """Return the headers that every response has."""
    return [
        ("X-Request-ID", request_id),
        ("RateLimit-Limit", str(rate.limit)),
        ("RateLimit-Remaining", str(max(0, rate.remaining))),
        ("RateLimit-Reset", str(rate.reset)),
        *_SECURITY_HEADERS,
    ]


def common_header_lines(
    environ: WSGIEnvironment,
    request_id: str,
    rate: RateLimit,
    cors: CorsHeaders,
    *,
    caching: str = "",
) -> str:
    """Return, as text, the headers that Flask's hooks add.

    ``caching``: a Cache-Control line, if any.
    """
    secure = _TRANSPORT_SECURITY_LINE if environ["wsgi.url_scheme"] == "https" else ""
    return (
        f"{cors.lines(environ)}X-Request-ID: {request_id}\r\nRateLimit-Limit: {rate.limit}\r\n"
        f"RateLimit-Remaining: {max(0, rate.remaining)}\r\nRateLimit-Reset: {rate.reset}\r\n"
        f"{_SECURITY_LINES}{caching}{secure}"
    )


def _add_headers(response: Response) -> Response:
    headers = response.headers
    headers.extend(common_headers(g.request_id, g.rate))
    if CONTENT_SECURITY_POLICY[0] not in headers:
        headers.add(*CONTENT_SECURITY_POLICY)
    if "Cache-Control" not in headers:
        headers.add("Cache-Control", "no-store")
    if request.is_secure:
        headers.add(*TRANSPORT_SECURITY)
    return response
