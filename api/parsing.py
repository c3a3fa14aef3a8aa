"""Parses requests. What is wrong with a request is raised as one of ``api.errors``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from flask import request
from marshmallow import RAISE, Schema, ValidationError

from api.errors import MalformedJson, UnsupportedMediaType, ValidationFailed
from common.errors import JobNotFound

#: Digits of an integer that are read. A longer one is too large for every field, cut or not.
MAX_DIGITS: Final = 200
#: Unknown fields of a body that are reported one by one. It has room for thousands of them, and a
#: message about each would cost far more than the request.
MAX_UNKNOWN_FIELDS: Final = 20
#: Maximum of ``Prefer: wait`` and of the query parameter ``wait``, in seconds.
MAX_WAIT: Final = 60
IDEMPOTENCY_KEY_PATTERN: Final = r"^[ -~]{1,255}$"

#: 64 bits are 19 or 20 digits.
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_ENTITY_TAG = re.compile(r'"[^"]*"')
#: The version in an entity tag of ``JobPresenter.etag``.
_VERSION = re.compile(r'"([0-9]{1,15})(?:-[0-9]{1,15}){0,2}"')
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=,|;|$)", re.IGNORECASE)


def body(schema: Schema) -> dict[str, Any]:
    """Return the JSON body, validated by ``schema``.

    Raises ``UnsupportedMediaType``, ``MalformedJson`` and ``ValidationFailed``.
    """
    if not request.is_json:
        raise UnsupportedMediaType
    return _load(schema, _parse_json(request.get_data(cache=False)))


def may_exceed_64_bits(text: bytes) -> bool:
    """Return whether the JSON text may contain an integer that does not fit into 64 bits."""
    return _LONG_NUMBER.search(text) is not None


def query(schema: Schema) -> dict[str, Any]:
    """Return the query parameters, validated by ``schema``. Raise ``ValidationFailed``."""
    if "" in request.args:
        # Unknown names are accepted: a cache or a later version may use them. No name is a mistake.
        raise ValidationFailed({"query": ["A parameter has no name."]})
    parameters = {
        # A repeated parameter stays a list, which no field accepts as a single value.
        name: values[0] if len(values) == 1 else values
        for name, values in request.args.lists()
    }
    return _load(schema, parameters)


def job_id(text: str) -> str:
    """Return the job ID of a path. Raise ``JobNotFound`` if it is not a UUID."""
    text = text.lower()
    if not is_job_id(text):
        raise JobNotFound
    return text


def is_job_id(text: str) -> bool:
    """Return whether ``text`` has the form of a job ID."""
    return _UUID.match(text) is not None


def idempotency_key() -> str | None:
    """Return the Idempotency-Key header. Raise ``ValidationFailed`` if it is not valid."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not is_idempotency_key(key):
        raise ValidationFailed(
            {"Idempotency-Key": ["Must be 1 to 255 printable ASCII characters."]}
        )
    return key


def is_idempotency_key(text: str) -> bool:
    """Return whether ``text`` is a valid idempotency key."""
    return _IDEMPOTENCY_KEY.fullmatch(text) is not None


def if_none_match_versions() -> list[int]:
    """Return the versions in If-None-Match, weak or not: compressing proxies weaken ETags."""
    header = request.headers.get("If-None-Match")
    return [int(version) for version in _VERSION.findall(header)] if header else []


def if_none_match_covers(etag: str) -> bool:
    """Return whether the client already has the response with this tag (RFC 9110, 13.1.2)."""
    header = request.headers.get("If-None-Match", "")
    return header == "*" or etag in _ENTITY_TAG.findall(header)


def if_match_fails(etag: str) -> bool:
    """Return whether the client requires another tag than this strong one (RFC 9110, 13.1.1)."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return False
    return etag not in (each.strip() for each in header.split(","))


def preferred_wait() -> int:
    """Return the seconds of ``Prefer: wait=N`` (RFC 7240), at most ``MAX_WAIT``; 0 by default."""
    preference = request.headers.get("Prefer")
    found = _WAIT.search(preference) if preference else None
    return min(int(found[1]), MAX_WAIT) if found else 0


def _parse_json(text: bytes) -> Any:
    """Return the value of a JSON text, with integers of any size.

    orjson turns an integer beyond 64 bits into a float, which is another number. The standard
    library is slower, so it parses only texts that may contain one.
    """
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise MalformedJson from None
    if not may_exceed_64_bits(text):
        return data
    try:
        return json.loads(text, parse_int=lambda digits: int(digits[:MAX_DIGITS]))
    except RecursionError:  # Nested more deeply than any schema allows.
        return data


def _load(schema: Schema, data: object) -> dict[str, Any]:
    count = len(data) if isinstance(data, dict) and schema.unknown == RAISE else 0
    if count > len(schema.load_fields) + MAX_UNKNOWN_FIELDS:
        known = ", ".join(field.data_key or name for name, field in schema.load_fields.items())
        raise ValidationFailed(
            {"body": [f"Has {count} fields, but only these are known: {known}."]}
        )
    try:
        return dict(schema.load(data))  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValidationFailed(_flatten(error.messages_dict)) from None


def _flatten(messages: Mapping[Any, Any], prefix: str = "") -> dict[str, list[str]]:
    """Return messages by path of the field; ``body`` for those about the body as a whole."""
    flat: dict[str, list[str]] = {}
    for name, value in messages.items():
        path = "body" if name == "_schema" else f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{path}."))
        else:
            flat[path] = [str(message) for message in value]
    return flat
