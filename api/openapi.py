"""The OpenAPI document: what the routes declare, plus what applies to every operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apispec import APISpec
from apispec.core import Components
from flask import Flask
from flask_smorest import Api
from marshmallow import Schema, fields
from werkzeug.routing import BaseConverter, PathConverter

from api import problems
from api.auth import authorization
from api.auth.callers import USER_PATTERN
from api.dependencies import deps
from api.parsing import IDEMPOTENCY_KEY_PATTERN
from api.schemas import requested_files
from api.schemas.fields import ExpiresIn, FileId, FileIds, Metadata, UserId
from api.schemas.job import JobEventSchema
from api.schemas.requested_files import RequestedFiles
from api.schemas.requests import JobMembers
from api.schemas.responses import ProblemSchema
from common.version import VERSION

DESCRIPTION: Final = (
    "Long-running downloads: post file IDs, watch the job, and download one archive from a signed "
    "URL."
)

#: What each error status means.
PROBLEMS: Final = {
    400: "VALIDATION_ERROR, MALFORMED_JSON, or MALFORMED_REQUEST: the request is not valid HTTP",
    401: "UNAUTHORIZED: there is no valid token",
    403: "FORBIDDEN: the job or the user_id is another user's, or the call is for operators only; "
    "FILE_FORBIDDEN: you may not have the files; or PRIORITY_NOT_ALLOWED: by your plan",
    404: "JOB_NOT_FOUND, JOB_NOT_READY, LINK_NOT_FOUND, DELIVERY_NOT_FOUND, HISTORY_OFF, or "
    "WEBHOOK_SECRET_OFF",
    409: "JOB_CONFLICT or JOB_FAILED: the state of the job does not allow this; or TOO_MANY_LINKS",
    410: "JOB_CANCELLED, JOB_EXPIRED, or ARCHIVE_DELETED: there is no archive; "
    "or LINK_GONE: the link has ended",
    412: "PRECONDITION_FAILED: the ETag in If-Match is not the current one",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE: the body must be application/json",
    422: "IDEMPOTENCY_KEY_REUSED: the key was already used for a different request",
    429: "RATE_LIMIT_EXCEEDED, TOO_MANY_ACTIVE_JOBS, QUOTA_EXCEEDED, TOO_MANY_STREAMS, or "
    "TOO_MANY_WAITING_REQUESTS",
    500: "INTERNAL_ERROR",
    501: "DELIVERY_UNAVAILABLE: archives cannot be downloaded from this server",
    503: "BACKEND_UNAVAILABLE or QUEUE_FULL",
}
#: Errors of every call.
_ALWAYS: Final = (400, 429, 500, 503)
_WITH_TOKEN: Final = (401, 403)
_WITH_BODY: Final = (413, 415)
_RETRY_AFTER: Final = (429, 503)

_HEADERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "X-Request-ID": ("From the request if it is valid, otherwise a UUID", {"type": "string"}),
    "RateLimit-Limit": ("Requests allowed per minute", {"type": "integer", "minimum": 0}),
    "RateLimit-Remaining": ("Requests remaining in this minute", {"type": "integer", "minimum": 0}),
    "RateLimit-Reset": ("Seconds until the limit resets", {"type": "integer", "minimum": 1}),
    "Retry-After": ("Seconds to wait", {"type": "integer", "minimum": 1}),
    "ETag": (
        "Changes with the version of the job, and before its downloadUrl expires",
        {"type": "string", "pattern": r'^"[0-9]+(-[0-9]+){0,2}"$'},
    ),
    "Location": ("Where to continue", {"type": "string", "format": "uri"}),
    "Preference-Applied": ("The wait that was applied", {"type": "string"}),
    "Idempotent-Replayed": (
        "Present if the key was used before",
        {"type": "string", "enum": ["true"]},
    ),
    "Cache-Control": ("", {"type": "string"}),
    "WWW-Authenticate": ("RFC 6750", {"type": "string"}),
    "Deprecation": ("Since when this call is deprecated (RFC 9745)", {"type": "string"}),
    "Sunset": ("When this call may be removed (RFC 8594)", {"type": "string"}),
    "Link": ("Where to learn more about the deprecation", {"type": "string"}),
}
_EVERYWHERE: Final = ("X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_REQUIRED_HEADERS: Final = {*_EVERYWHERE, "ETag", "Location", "WWW-Authenticate"}
#: Errors that may be sent before the request is parsed, and so before it is counted.
_MAY_BE_UNCOUNTED: Final = (400, 413, 500, 501)
_PROBLEM_HEADERS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    **dict.fromkeys(_RETRY_AFTER, ("Retry-After",)),
}

_PARAMETERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "X-User-Id": (
        "Your user ID, for limits and lists",
        {"type": "string", "pattern": USER_PATTERN},
    ),
    "Idempotency-Key": (
        "Repeating a request with the same key within 24 hours returns the first job",
        {"type": "string", "pattern": IDEMPOTENCY_KEY_PATTERN},
    ),
    "Prefer": (
        "wait=N (RFC 7240): respond when the job is finished, or after N seconds (at most 60)",
        {"type": "string", "examples": ["wait=10"]},
    ),
    "Last-Event-ID": ("The version of the last event received", {"type": "string"}),
    "If-None-Match": ("The ETag that the client has", {"type": "string"}),
}


@dataclass(frozen=True, kw_only=True)
class ResponseSpec:
    """A possible response of an operation."""

    status: int
    description: str
    schema: type[Schema] | Mapping[str, Any] | None = None
    media: str = "application/json"
    headers: tuple[str, ...] = ()

    def as_openapi(self) -> dict[str, Any]:
        """Return the response object of the document."""
        response: dict[str, Any] = {
            "description": self.description,
            "headers": _headers(self.headers),
        }
        if self.schema is not None:
            response["content"] = {self.media: {"schema": self.schema}}
        elif self.media != "application/json":
            response["content"] = {self.media: {"schema": {"type": "string"}}}
        return response


@dataclass(frozen=True, kw_only=True)
class _EveryCall:
    """What all operations under /v1/ have in common; it depends on AUTH_MODE."""

    errors: tuple[int, ...]
    parameters: tuple[str, ...] = ()
    security: list[dict[str, list[str]]] = field(default_factory=list)


_TOKEN: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The subject is the user. The scope downloads:admin is for operators.",
}


def operation(
    *specs: ResponseSpec,
    body: Schema | None = None,
    query: Schema | None = None,
    headers: Iterable[str] = (),
    errors: Iterable[int] = (),
) -> dict[str, Any]:
    """Return what a route declares, for ``Blueprint.doc``.

    ``errors``: statuses of the problem documents, except those that every call may return.
    """
    responses: dict[int, Any] = {
        status: _problem_name(status) for status in (*errors, *(_WITH_BODY if body else ()))
    }
    for spec in specs:
        response = spec.as_openapi()
        # The same status may be declared with several media types.
        for media, content in responses.get(spec.status, {}).get("content", {}).items():
            response["content"][media] = content
        responses[spec.status] = response
    parameters: list[Any] = list(headers)
    if query is not None:
        parameters.append({"in": "query", "schema": query})
    documented: dict[str, Any] = {
        "responses": {str(status): response for status, response in responses.items()},
        "parameters": parameters,
    }
    if body is not None:
        documented["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return documented


def _header(name: str, *, required: bool = False) -> dict[str, Any]:
    description, schema = _HEADERS[name]
    return {"description": description, "required": required, "schema": schema}


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: name for name in (*names, *_EVERYWHERE)}


def _problem_name(status: int) -> str:
    return f"Problem{status}"


class JobIdConverter(BaseConverter):
    """A path segment that is a job ID and not one of the fixed paths next to it."""

    regex = r"(?!(?:initiate|async|start|check|jobs|usage)(?:/|\Z))[^/]+"


class UserIdConverter(PathConverter):
    """The rest of the path, which may contain line ends and begin with a slash."""

    regex = r"(?s:.+)"
    part_isolating = False


def document(app: Flask) -> Api:
    """Return an empty document; registering blueprints with it adds their operations."""
    app.url_map.converters["job"] = JobIdConverter
    app.url_map.converters["user"] = UserIdConverter
    app.config.update(
        API_TITLE="Long-running downloads",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={"info": {"description": DESCRIPTION}},
    )
    document = Api(app)
    _add_components(document.spec.components)
    document.DEFAULT_ERROR_RESPONSE_NAME = None
    document.ma_plugin.converter.add_attribute_function(_custom_field_schema)
    document.register_converter(JobIdConverter, lambda _: {"type": "string", "format": "uuid"})
    document.register_converter(UserIdConverter, lambda _: {"type": "string", "minLength": 1})
    return document


def _add_components(components: Components) -> None:
    for name in _HEADERS:
        components.header(name, _header(name, required=name in _REQUIRED_HEADERS), lazy=True)
    for name, (description, schema) in _PARAMETERS.items():
        components.parameter(
            name, "header", {"description": description, "schema": schema}, lazy=True
        )
    optional = {name: _header(name) for name in _EVERYWHERE if name != "X-Request-ID"}
    uncounted = dict.fromkeys(_MAY_BE_UNCOUNTED, optional)
    for status, description in PROBLEMS.items():
        problem = {
            "description": description,
            "headers": _headers(_PROBLEM_HEADERS.get(status, ())) | uncounted.get(status, {}),
            "content": {problems.MEDIA_TYPE: {"schema": ProblemSchema}},
        }
        components.response(_problem_name(status), problem, lazy=True)


def complete(spec: APISpec) -> dict[str, Any]:
    """Return the document, completed by what marshmallow cannot express and all calls share."""
    if deps().authenticator.jobs_are_private:
        spec.components.security_scheme("token", _TOKEN)
        every_call = _EveryCall(errors=(*_ALWAYS, *_WITH_TOKEN), security=[{"token": []}])
    else:
        spec.components.get_ref("parameter", "X-User-Id")
        every_call = _EveryCall(errors=_ALWAYS, parameters=("X-User-Id",))
    for status in every_call.errors:
        spec.components.get_ref("response", _problem_name(status))
    spec.components.schema("JobEvent", schema=JobEventSchema)
    document: dict[str, Any] = spec.to_dict()
    schemas = document["components"]["schemas"]
    schemas["Initiate"]["oneOf"] = [
        {"required": ["file_ids"]},
        {"required": ["file_id"]},
        {"required": ["files"]},
    ]
    for event, content in (("Event", "JobEvent"), ("OverviewEvent", "Overview")):
        schemas[event]["properties"]["data"] |= {
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": f"#/components/schemas/{content}"},
        }
    for path, item in document["paths"].items():
        for method, operation_object in item.items():
            if isinstance(operation_object, dict):
                _complete_operation(path, method, operation_object, every_call)
    return document


def _complete_operation(
    path: str, method: str, operation_object: dict[str, Any], every_call: _EveryCall
) -> None:
    operation_object["operationId"] = _operation_id(method, path)
    # These calls are authenticated. Those below /d/ are only rate limited, and declare their errors
    # themselves.
    if authorization.applies_to(path):
        for name in every_call.parameters:
            operation_object["parameters"].append({"$ref": f"#/components/parameters/{name}"})
        if every_call.security:
            operation_object["security"] = every_call.security
        for status in every_call.errors:
            name = _problem_name(status)
            operation_object["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    operation_object["responses"] = dict(sorted(operation_object["responses"].items()))


def _operation_id(method: str, path: str) -> str:
    words = path.replace("{", "by_").replace("}", "").replace("-", "_").split("/")
    return "_".join([method, *filter(None, words)])


def _custom_field_schema(
    self: object,  # noqa: ARG001
    field: fields.Field[Any],
    **kwargs: Any,  # noqa: ARG001
) -> dict[str, Any]:
    limits = deps().file_ids
    file_id = {"type": "integer", "minimum": limits.min_id, "maximum": limits.max_id}
    if isinstance(field, FileId):
        return file_id
    if isinstance(field, FileIds):
        return {"type": "array", "items": file_id, "minItems": 1, "maxItems": limits.max_count}
    if isinstance(field, RequestedFiles):
        return requested_files.schema(file_id)
    if isinstance(field, ExpiresIn):
        return {"minimum": 1, "maximum": int(deps().jobs.limits.archive_ttl)}
    if isinstance(field, Metadata):
        return {"type": "object"}
    if isinstance(field, UserId):
        return {"type": ["string", "integer", "null"]}
    if isinstance(field, JobMembers):
        return {"type": "string"}
    return {}
