"""The request class, and what several routes share to build responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from flask import Request, Response, request
from flask.json.provider import JSONProvider
from werkzeug.datastructures import Accept, MIMEAccept, MultiDict
from werkzeug.http import parse_accept_header
from werkzeug.sansio.utils import get_host
from werkzeug.utils import cached_property

from api.dependencies import deps
from api.errors import ValidationFailed
from common.jobs.transitions import JobState

#: States in which a job's status is sent with 410 instead of 200.
GONE: Final = frozenset({JobState.CANCELLED, JobState.EXPIRED})


#: Parsing thousands of parameters or media types blocks the process for tens of milliseconds.
MAX_PARAMETERS: Final = 100
#: Characters of Accept and Accept-Encoding. Browsers send 200.
MAX_ACCEPT: Final = 1_000


class ApiRequest(Request):
    """Flask's request, which limits what is parsed and accepts underscores in Host."""

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The query parameters, with U+FFFD for invalid UTF-8. Raises ``ValidationFailed``."""
        try:
            # Werkzeug calls a function of its own for each invalid byte.
            parameters = parse_qsl(
                self.query_string.decode(),
                keep_blank_values=True,
                errors="replace",
                max_num_fields=MAX_PARAMETERS,
            )
        except ValueError:
            raise ValidationFailed(
                {"query": [f"There must be at most {MAX_PARAMETERS} parameters."]}
            ) from None
        return self.parameter_storage_class(parameters)

    @cached_property
    def accept_mimetypes(self) -> MIMEAccept:
        """The media types of Accept, or none if the header is too long (RFC 9110, 12.5.1)."""
        return parse_accept_header(self._short_header("Accept"), MIMEAccept)

    @cached_property
    def accept_encodings(self) -> Accept:
        """The codings of Accept-Encoding, or none if the header is too long (RFC 9110, 12.5.3)."""
        return parse_accept_header(self._short_header("Accept-Encoding"))

    def _short_header(self, name: str) -> str | None:
        header = self.headers.get(name, "")
        return header if len(header) <= MAX_ACCEPT else None

    @property
    def host(self) -> str:
        """The host, with its port unless it is the default; empty if it is invalid.

        The names of containers and services have underscores. Werkzeug takes such a host for
        invalid, and returns URLs without a host.
        """
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
