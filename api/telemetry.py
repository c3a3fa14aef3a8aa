"""One span and one set of log ids for each request."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, g, request

from common.observability import tracing


def install(app: Flask) -> None:
    """Before whatever else looks at requests, so that all of that is inside of the span."""
    app.before_request(_begin)
    app.after_request(_answered)
    app.teardown_request(_end)


def name_request(request_id: str) -> None:
    """From now on each line of the log says which request, and which trace, it belongs to."""
    ids: dict[str, str | None] = {"request_id": request_id}
    if g.traceparent:
        ids["trace_id"] = tracing.trace_id(g.traceparent)
    structlog.contextvars.bind_contextvars(**ids)


def _begin() -> None:
    g.traceparent = tracing.sane(request.headers.get("traceparent"))
    if not tracing.enabled() or not request.path.startswith("/v1/"):
        return
    route = request.url_rule.rule if request.url_rule else "unknown"
    g.span_around = tracing.span(
        f"{request.method} {route}",
        kind="server",
        parent=g.traceparent,
        attributes={"http.request.method": request.method, "http.route": route},
    )
    g.span = g.span_around.__enter__()
    g.traceparent = tracing.current()


def _answered(response: Response) -> Response:
    span = g.get("span")
    if span is not None:
        span.set("http.response.status_code", response.status_code)
        span.set("longhaul.request_id", g.get("request_id"))
        if response.status_code >= 500:
            span.fail(response.status)
    return response


def _end(error: BaseException | None) -> None:  # noqa: ARG001  Flask's signature
    around: Any = g.pop("span_around", None)
    if around is not None:
        around.__exit__(None, None, None)
    # One greenlet serves one connection, and so request after request, some of them without Flask.
    structlog.contextvars.clear_contextvars()
