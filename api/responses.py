"""What several routes answer with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, request
from flask.json.provider import JSONProvider

from api.dependencies import deps


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
    return deps().poll_after


def base_url() -> str:
    """What the URLs in answers begin with, without a slash at the end."""
    return deps().public_url or request.host_url.rstrip("/")
