"""Cross-origin requests (CORS): which origins may call, by CORS_ORIGINS.

flask-cors renders the headers, both for Flask and for the fast path.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response
from flask_cors import CORS
from flask_cors.core import DEFAULT_OPTIONS, get_cors_headers, serialize_options
from werkzeug.datastructures import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

EXPOSED_HEADERS: Final = (
    "Deprecation",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Sunset",
    "X-Request-ID",
)
#: Seconds for which a browser may reuse the response to a preflight.
PREFLIGHT_MAX_AGE: Final = 600
#: Origins whose header lines are cached. Clients choose the header, so there has to be a limit.
MAX_CACHED_ORIGINS: Final = 256


class CorsHeaders:
    """The CORS headers of every response; none when no origin is allowed."""

    def __init__(self, allowed_origins: str) -> None:
        """``allowed_origins``: comma-separated; ``*`` allows all.

        Raises ``ValueError`` for an origin with a wildcard.
        """
        origins = [origin.strip() for origin in allowed_origins.split(",") if origin.strip()]
        for origin in origins:
            if "*" in origin and origin != "*":
                raise ValueError(
                    f"CORS_ORIGINS contains {origin!r}: list each origin, or use * alone"
                )
        self._enabled = bool(origins)
        self._allows_all = "*" in origins
        self._settings: dict[str, Any] = {
            # As patterns: flask-cors would take some origins for regular expressions, such as those
            # with an IPv6 address, and compare only their beginnings.
            "origins": "*" if self._allows_all else [_exactly(origin) for origin in origins],
            "send_wildcard": self._allows_all,
            "expose_headers": list(EXPOSED_HEADERS),
            "max_age": PREFLIGHT_MAX_AGE,
        }
        self._render = lru_cache(MAX_CACHED_ORIGINS)(self._render_uncached)

    def install(self, app: Flask) -> None:
        """Add the headers to all of the application's responses, and respond to preflights."""
        if not self._enabled:
            return
        CORS(app, **self._settings)
        if not self._allows_all:
            app.after_request(_vary_by_origin)

    def lines(self, environ: WSGIEnvironment) -> str:
        """Return the same headers for the response to a GET or POST, each line with its CR LF."""
        if not self._enabled:
            return ""
        return self._render(
            environ.get("HTTP_ORIGIN"), environ.get("HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK")
        )

    def _render_uncached(self, origin: str | None, private_network: str | None) -> str:
        request_headers = Headers()
        if origin is not None:
            request_headers["Origin"] = origin
        if private_network is not None:
            request_headers["Access-Control-Request-Private-Network"] = private_network
        options = serialize_options({**DEFAULT_OPTIONS, **self._settings})
        lines = "" if self._allows_all else "Vary: Origin\r\n"
        for name, value in get_cors_headers(options, request_headers, "GET").items(multi=True):
            lines += f"{name}: {value}\r\n"
        return lines


def _exactly(origin: str) -> re.Pattern[str]:
    """Return a pattern for this origin alone. Scheme and host have no case (RFC 6454, 4)."""
    return re.compile(rf"{re.escape(origin)}\Z", re.IGNORECASE)


def _vary_by_origin(response: Response) -> Response:
    # For a single origin flask-cors omits it: a cache would then serve one origin's response to
    # another.
    response.vary.add("Origin")
    return response
