"""Answers that several routes give: JSON, and the job with its addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, request
from flask.json.provider import JSONProvider

from api.context import here
from common.jobs.model import Job


class OrjsonProvider(JSONProvider):
    """Flask's own JSON by the same library."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:  # noqa: ARG002
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ARG002
        return orjson.loads(s)


def json_answer(
    data: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(data), status, headers, mimetype="application/json")


def poll_after() -> str:
    """The advised pause between polls, as ``Retry-After`` wants it: whole seconds."""
    return here().poll_after


def addresses(job: Job) -> dict[str, str]:
    """Where to go on from an accepted job."""
    context = here()
    base = context.public_url or request.host_url.rstrip("/")
    ticket = context.tickets.issue(job.id, job.user)
    live = f"{base}/v1/download/subscribe/{job.id}?ticket={ticket}"
    return {
        "statusUrl": f"{base}/v1/download/status/{job.id}",
        "subscribeUrl": live,
        # http -> ws, https -> wss
        "webSocketUrl": "ws" + live.removeprefix("http"),
        "resultUrl": f"{base}/v1/download/{job.id}",
        "cancelUrl": f"{base}/v1/download/cancel/{job.id}",
    }
