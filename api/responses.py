"""The request class, and what several routes share to build responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from flask import Request, Response, request
from flask.json.provider import JSONProvider
from werkzeug.sansio.utils import get_host

from api.dependencies import deps
from common.jobs.transitions import JobState

#: States in which a job's status is sent with 410 instead of 200.
GONE: Final = frozenset({JobState.CANCELLED, JobState.EXPIRED})


class ApiRequest(Request):
    """Flask's request, which accepts underscores in Host.

    The names of containers and services have them. Werkzeug takes such a host for invalid, and
    returns URLs without a host.
    """

    @property
    def host(self) -> str:
        """The host, with its port unless it is the default; empty if it is invalid."""
        header = self.environ.get("HTTP_HOST") or None
        checked = get_host(
            self.scheme, header and header.replace("_", "-"), self.server, self.trusted_hosts
        )
        if header is None or "_" not in header or not checked:
            return checked
        name, _, port = header.partition(":")
        return f"{name}:{port}" if ":" in checked else str(name)

    @host.setter
    def host(self, value: str) -> None:
        """Ignore Werkzeug's result, which Flask stores here."""


class OrjsonProvider(JSONProvider):
    """Flask's JSON provider on orjson, which the rest of the API uses too."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:  # noqa: ARG002
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ARG002
        return orjson.loads(s)


def json_response(
    data: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return ``data`` as a JSON response."""
    return Response(orjson.dumps(data), status, headers, mimetype="application/json")


def no_content() -> Response:
    """Return a response without a body."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def retry_after() -> str:
    """Return how long clients should wait between polls, for ``Retry-After``: whole seconds."""
    return deps().retry_after


def base_url() -> str:
    """Return what URLs in responses start with, without a trailing slash."""
    return deps().public_url or request.host_url.rstrip("/")
