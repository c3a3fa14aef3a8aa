"""One span and one set of log ids per request, for Flask and for the fast path.

The fast path begins them itself. When it then leaves the request to Flask, Flask continues with
the same ones, so that a request never has two server spans.
"""

from __future__ import annotations

import random
import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import structlog
from flask import Flask, Response, g, request

from common.observability import tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: The key of the fast path's ``RequestTelemetry`` in the WSGI environment.
ENVIRON_KEY: Final = "longhaul.telemetry"

_VALID_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


class RequestTelemetry:
    """The id, the trace context and the span of one request.

    Spans that are opened before ``end`` become children of the request's span.
    """

    __slots__ = ("_bound", "_scope", "_span", "request_id", "traceparent")

    def __init__(self, environ: WSGIEnvironment, method: str, route: str) -> None:
        self.request_id = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        #: What a job created by this request continues; None without a trace.
        self.traceparent = tracing.valid_traceparent(environ.get("HTTP_TRACEPARENT"))
        self._bound = False
        self._scope: AbstractContextManager[tracing.Span] | None = None
        if tracing.enabled() and environ["PATH_INFO"].startswith("/v1/"):
            self._scope = tracing.span(
                f"{method} {route}",
                kind="server",
                parent=self.traceparent,
                attributes={"http.request.method": method, "http.route": route},
            )
            self._span = self._scope.__enter__()
            self.traceparent = tracing.current()

    def bind_log_ids(self) -> None:
        """Add the ids of request and trace to every log line until ``end``.

        Flask's hooks do this for each request. The fast path does not: what it calls logs nothing
        about a request, and binding takes 6 µs of a status poll's 40.
        """
        self._bound = True
        ids: dict[str, str | None] = {"request_id": self.request_id}
        if self.traceparent:
            ids["trace_id"] = tracing.trace_id(self.traceparent)
        structlog.contextvars.bind_contextvars(**ids)

    def record_response(self, status: int, status_line: str) -> None:
        """Add the response's status to the span; ``status_line`` is code and phrase."""
        if self._scope is None:
            return
        self._span.set("http.response.status_code", status)
        self._span.set("longhaul.request_id", self.request_id)
        if status >= 500:
            self._span.fail(status_line)

    def end(self) -> None:
        """End the span and unbind the log ids; calling it again does nothing."""
        scope, self._scope = self._scope, None
        if scope is not None:
            scope.__exit__(None, None, None)
        if self._bound:
            # A greenlet serves one connection, so its context outlives the request.
            self._bound = False
            structlog.contextvars.clear_contextvars()


def install(app: Flask) -> None:
    """Register the hooks; call this before anything else that registers hooks, so that all of them
    run inside the span."""
    app.before_request(_begin)
    app.after_request(_record_response)
    app.teardown_request(_end)


def request_id(from_client: str) -> str:
    """Return the client's own id if it is valid, else a new UUID, which need not be secret."""
    if _VALID_REQUEST_ID.match(from_client):
        return from_client
    # 4 µs faster than uuid4(), which asks the kernel.
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _begin() -> None:
    telemetry: RequestTelemetry | None = request.environ.get(ENVIRON_KEY)
    if telemetry is None:
        route = request.url_rule.rule if request.url_rule else "unknown"
        telemetry = RequestTelemetry(request.environ, request.method, route)
    telemetry.bind_log_ids()
    g.telemetry = telemetry
    g.request_id = telemetry.request_id
    g.traceparent = telemetry.traceparent


def _record_response(response: Response) -> Response:
    telemetry: RequestTelemetry | None = g.get("telemetry")
    if telemetry is not None:
        telemetry.record_response(response.status_code, response.status)
    return response


def _end(error: BaseException | None) -> None:  # noqa: ARG001  Flask's signature
    telemetry: RequestTelemetry | None = g.pop("telemetry", None)
    if telemetry is not None:
        telemetry.end()
