"""The OpenAPI document: what routes declare, completed by what holds for every operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apispec import APISpec
from apispec.core import Components
from flask import Flask
from flask_smorest import Api
from marshmallow import Schema, fields
from werkzeug.routing import BaseConverter

from api import problems
from api.auth.callers import USER_PATTERN
from api.dependencies import deps
from api.parsing import IDEMPOTENCY_KEY_PATTERN
from api.schemas.fields import FileId, FileIds, Metadata
from api.schemas.job import JobEventSchema
from api.schemas.responses import ProblemSchema

VERSION: Final = "0.1.0"

#: What each status of a refusal may be about.
PROBLEMS: Final = {
    400: "VALIDATION_ERROR or MALFORMED_JSON",
    401: "UNAUTHORIZED: there is no token, or none that is good",
    403: "FORBIDDEN: this job is another's, or the call is for operators",
    404: "JOB_NOT_FOUND or HISTORY_OFF",
    409: "The job's state does not allow this",
    410: "JOB_CANCELLED or JOB_EXPIRED: there is no archive",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE: the body has to be application/json",
    422: "IDEMPOTENCY_KEY_REUSED: the key came before with another request",
    429: "RATE_LIMIT_EXCEEDED or TOO_MANY_ACTIVE_JOBS",
    500: "INTERNAL_ERROR",
    503: "BACKEND_UNAVAILABLE or QUEUE_FULL",
}
#: Any call may be answered so.
_ALWAYS: Final = (400, 429, 500, 503)
_WITH_TOKEN: Final = (401, 403)
_WITH_BODY: Final = (413, 415)
_RETRY_AFTER: Final = (429, 503)

_HEADERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "X-Request-ID": ("The request's own, if sane, else a UUID", {"type": "string"}),
    "RateLimit-Limit": ("Requests a minute", {"type": "integer", "minimum": 0}),
    "RateLimit-Remaining": ("Of these, how many are left", {"type": "integer", "minimum": 0}),
    "RateLimit-Reset": ("Seconds until it starts anew", {"type": "integer", "minimum": 1}),
    "Retry-After": ("Seconds", {"type": "integer", "minimum": 1}),
    "ETag": ("The version, quoted", {"type": "string", "pattern": r'^"[0-9]+"$'}),
    "Location": ("Where to go on", {"type": "string", "format": "uri"}),
    "Preference-Applied": ("The wait that was granted", {"type": "string"}),
    "Idempotent-Replayed": ("The key was used before", {"type": "string", "enum": ["true"]}),
    "Cache-Control": ("", {"type": "string"}),
    "WWW-Authenticate": ("RFC 6750", {"type": "string"}),
}
_EVERYWHERE: Final = ("X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_SENT_ALWAYS: Final = {*_EVERYWHERE, "ETag", "Location", "WWW-Authenticate"}
_OF_PROBLEMS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    **dict.fromkeys(_RETRY_AFTER, ("Retry-After",)),
}

_PARAMETERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "X-User-Id": ("Who calls, for limits and lists", {"type": "string", "pattern": USER_PATTERN}),
    "Idempotency-Key": (
        "The same key and request within 24 h get the first answer again",
        {"type": "string", "pattern": IDEMPOTENCY_KEY_PATTERN},
    ),
    "Prefer": (
        "wait=N (RFC 7240): answer when the job is finished, or after N seconds (at most 60)",
        {"type": "string", "examples": ["wait=10"]},
    ),
    "Last-Event-ID": ("The version of the last event received", {"type": "string"}),
    "If-None-Match": ("The ETag that the client has", {"type": "string"}),
}


@dataclass(frozen=True, kw_only=True)
class ResponseSpec:
    """One way in which a call may be answered."""

    status: int
    meaning: str
    schema: type[Schema] | None = None
    media: str = "application/json"
    headers: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        described: dict[str, Any] = {"description": self.meaning, "headers": _headers(self.headers)}
        if self.schema is not None:
            described["content"] = {self.media: {"schema": self.schema}}
        elif self.media != "application/json":
            described["content"] = {self.media: {"schema": {"type": "string"}}}
        return described


@dataclass(frozen=True, kw_only=True)
class _EveryCall:
    """What every call below /v1/ has in common, by how its caller is told."""

    refusals: tuple[int, ...]
    parameters: tuple[str, ...] = ()
    security: list[dict[str, list[str]]] = field(default_factory=list)


_TOKEN: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The subject is the user; the scope downloads:admin makes an operator",
}


def operation(
    *answers: ResponseSpec,
    body: Schema | None = None,
    query: Schema | None = None,
    headers: Iterable[str] = (),
    refusals: Iterable[int] = (),
) -> dict[str, Any]:
    """What a route declares, for ``Blueprint.doc``; refusals of every call need no mention."""
    responses: dict[int, Any] = {
        status: _problem_name(status) for status in (*refusals, *(_WITH_BODY if body else ()))
    }
    for answer in answers:
        described = answer.document()
        # One status may come as several media types.
        for media, content in responses.get(answer.status, {}).get("content", {}).items():
            described["content"][media] = content
        responses[answer.status] = described
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


def _headers(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in (*names, *_EVERYWHERE)}


def _problem_name(status: int) -> str:
    return f"Problem{status}"


class JobIdConverter(BaseConverter):
    """A path's last segment where it is no sibling of the job ids."""

    regex = r"(?!(?:initiate|async|start|check|jobs)(?:/|\Z))[^/]+"


def document(app: Flask) -> Api:
    """An empty document, filled as blueprints are registered with what this returns."""
    app.url_map.converters["job"] = JobIdConverter
    app.config.update(
        API_TITLE="Longhaul",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={
            "info": {
                "description": "Downloads that take long: post file ids, watch the job, "
                "fetch one archive by a signed link."
            }
        },
    )
    document = Api(app)
    _add_components(document.spec.components)
    document.DEFAULT_ERROR_RESPONSE_NAME = None
    document.ma_plugin.converter.add_attribute_function(_own_fields)
    document.register_converter(JobIdConverter, lambda _: {"type": "string", "format": "uuid"})
    return document


def _add_components(components: Components) -> None:
    for name, (meaning, schema) in _HEADERS.items():
        required = name in _SENT_ALWAYS
        components.header(
            name, {"description": meaning, "required": required, "schema": schema}, lazy=True
        )
    for name, (meaning, schema) in _PARAMETERS.items():
        components.parameter(name, "header", {"description": meaning, "schema": schema}, lazy=True)
    for status, meaning in PROBLEMS.items():
        problem = {
            "description": meaning,
            "headers": _headers(_OF_PROBLEMS.get(status, ())),
            "content": {problems.MEDIA_TYPE: {"schema": ProblemSchema}},
        }
        components.response(_problem_name(status), problem, lazy=True)


def complete(spec: APISpec) -> dict[str, Any]:
    """The whole document, with what marshmallow cannot say and what every call has."""
    if deps().authenticator.owned:
        spec.components.security_scheme("token", _TOKEN)
        every_call = _EveryCall(refusals=(*_ALWAYS, *_WITH_TOKEN), security=[{"token": []}])
    else:
        spec.components.get_ref("parameter", "X-User-Id")
        every_call = _EveryCall(refusals=_ALWAYS, parameters=("X-User-Id",))
    for status in every_call.refusals:
        spec.components.get_ref("response", _problem_name(status))
    spec.components.schema("JobEvent", schema=JobEventSchema)
    made: dict[str, Any] = spec.to_dict()
    made["components"]["schemas"]["Initiate"]["oneOf"] = [
        {"required": ["file_ids"]},
        {"required": ["file_id"]},
    ]
    for event, content in (("Event", "JobEvent"), ("OverviewEvent", "Overview")):
        made["components"]["schemas"][event]["properties"]["data"] |= {
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": f"#/components/schemas/{content}"},
        }
    for path, item in made["paths"].items():
        for method, described in item.items():
            if isinstance(described, dict):
                _complete_operation(path, method, described, every_call)
    return made


def _complete_operation(
    path: str, method: str, described: dict[str, Any], every_call: _EveryCall
) -> None:
    described["operationId"] = _operation_id(method, path)
    # Only these calls ask who calls and how often.
    if path.startswith("/v1/"):
        for name in every_call.parameters:
            described["parameters"].append({"$ref": f"#/components/parameters/{name}"})
        if every_call.security:
            described["security"] = every_call.security
        for status in every_call.refusals:
            name = _problem_name(status)
            described["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    described["responses"] = dict(sorted(described["responses"].items()))


def _operation_id(method: str, path: str) -> str:
    words = path.replace("{", "by_").replace("}", "").replace("-", "_").split("/")
    return "_".join([method, *filter(None, words)])


def _own_fields(
    self: object,  # noqa: ARG001
    field: fields.Field[Any],
    **kwargs: Any,  # noqa: ARG001
) -> dict[str, Any]:
    rules = deps().file_ids
    one = {"type": "integer", "minimum": rules.smallest, "maximum": rules.largest}
    if isinstance(field, FileId):
        return one
    if isinstance(field, FileIds):
        return {"type": "array", "items": one, "minItems": 1, "maxItems": rules.most}
    if isinstance(field, Metadata):
        return {"type": "object"}
    return {}
