"""The OpenAPI document: what routes declare, completed by what holds for every operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from flask_smorest import Api
from marshmallow import Schema, fields
from werkzeug.routing import BaseConverter

from api import problems
from api.auth import USER_PATTERN
from api.context import here
from api.parsing import IDEMPOTENCY_KEY_PATTERN
from api.schemas.answers import ProblemSchema
from api.schemas.fields import FileId, FileIds, Metadata

VERSION: Final = "0.1.0"

#: What each status of a refusal may be about.
PROBLEMS: Final = {
    400: "VALIDATION_ERROR or MALFORMED_JSON",
    404: "JOB_NOT_FOUND",
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
}
_EVERYWHERE: Final = ("X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_SENT_ALWAYS: Final = {*_EVERYWHERE, "ETag", "Location"}

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
    "If-None-Match": ("The ETag that the client has", {"type": "string"}),
}


@dataclass(frozen=True, kw_only=True)
class Answer:
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


def operation(
    *answers: Answer,
    body: Schema | None = None,
    query: Schema | None = None,
    headers: Iterable[str] = (),
    refusals: Iterable[int] = (),
) -> dict[str, Any]:
    """What a route declares, for ``Blueprint.doc``; refusals of every call need no mention."""
    statuses = {*_ALWAYS, *refusals, *(_WITH_BODY if body else ())}
    responses = {status: _refusal(status) for status in statuses}
    for answer in answers:
        merged = responses.setdefault(answer.status, {})
        content = {**merged.get("content", {}), **answer.document().get("content", {})}
        merged.update(answer.document())
        if content:
            merged["content"] = content
    parameters: list[dict[str, Any]] = [_parameter(name) for name in ("X-User-Id", *headers)]
    if query is not None:
        parameters.append({"in": "query", "schema": query})
    documented: dict[str, Any] = {
        "responses": {str(status): responses[status] for status in sorted(responses)},
        "parameters": parameters,
    }
    if body is not None:
        documented["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return documented


def _refusal(status: int) -> dict[str, Any]:
    return {
        "description": PROBLEMS[status],
        "headers": _headers(("Retry-After",) if status in _RETRY_AFTER else ()),
        "content": {problems.MEDIA_TYPE: {"schema": ProblemSchema}},
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {
        name: {
            "description": _HEADERS[name][0],
            "required": name in _SENT_ALWAYS,
            "schema": _HEADERS[name][1],
        }
        for name in (*names, *_EVERYWHERE)
    }


def _parameter(name: str) -> dict[str, Any]:
    meaning, schema = _PARAMETERS[name]
    return {"in": "header", "name": name, "description": meaning, "schema": schema}


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
    plugin = MarshmallowPlugin()
    document = Api(app, spec_kwargs={"marshmallow_plugin": plugin})
    document.DEFAULT_ERROR_RESPONSE_NAME = None
    plugin.converter.add_attribute_function(_own_fields)
    document.register_converter(
        JobIdConverter, lambda converter: {"type": "string", "format": "uuid"}
    )
    return document


def complete(spec: APISpec) -> dict[str, Any]:
    """The whole document, with what marshmallow cannot say."""
    made: dict[str, Any] = spec.to_dict()
    made["components"]["schemas"]["Initiate"]["oneOf"] = [
        {"required": ["file_ids"]},
        {"required": ["file_id"]},
    ]
    for path, item in made["paths"].items():
        for method, described in item.items():
            if isinstance(described, dict):
                described["operationId"] = _operation_id(method, path)
    return made


def _operation_id(method: str, path: str) -> str:
    words = path.replace("{", "by_").replace("}", "").replace("-", "_").split("/")
    return "_".join([method, *filter(None, words)])


def _own_fields(
    self: object,  # noqa: ARG001
    field: fields.Field[Any],
    **kwargs: Any,  # noqa: ARG001
) -> dict[str, Any]:
    rules = here().file_ids
    one = {"type": "integer", "minimum": rules.smallest, "maximum": rules.largest}
    if isinstance(field, FileId):
        return one
    if isinstance(field, FileIds):
        return {"type": "array", "items": one, "minItems": 1, "maxItems": rules.most}
    if isinstance(field, Metadata):
        return {"type": "object"}
    return {}
