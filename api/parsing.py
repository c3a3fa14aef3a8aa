"""Requests into values, or into the refusal that says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from flask import request
from marshmallow import Schema, ValidationError

from api.errors import MalformedJson, UnsupportedMediaType, ValidationFailed
from common.errors import JobNotFound

#: Longest wait that a request may ask for, seconds.
LONGEST_WAIT: Final = 60
IDEMPOTENCY_KEY_PATTERN: Final = r"^[ -~]{1,255}$"

_IDEMPOTENCY_KEY = re.compile(r"[ -~]{1,255}\Z")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_VERSION = re.compile(r'"([0-9]{1,15})"')
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=,|;|$)", re.IGNORECASE)


def body(schema: Schema) -> dict[str, Any]:
    """The JSON body as ``schema`` wants it.

    Raises ``UnsupportedMediaType``, ``MalformedJson`` and ``ValidationFailed``.
    """
    if not request.is_json:
        raise UnsupportedMediaType
    try:
        data = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError:
        raise MalformedJson from None
    return _load(schema, data)


def query(schema: Schema) -> dict[str, Any]:
    """The query parameters as ``schema`` wants them. Raises ``ValidationFailed``."""
    if "" in request.args:
        # An unknown name may be a cache's or a later version's; none at all is a mistake.
        raise ValidationFailed({"query": ["A parameter has no name"]})
    given = {
        # A repeated parameter stays a list, which no field takes for a single value.
        name: values[0] if len(values) == 1 else values
        for name, values in request.args.lists()
    }
    return _load(schema, given)


def job_id(text: str) -> str:
    """The id of a job in a path. What is no UUID names no job: raises ``JobNotFound``."""
    text = text.lower()
    if not _UUID.match(text):
        raise JobNotFound
    return text


def idempotency_key() -> str | None:
    """Raises ``ValidationFailed`` for a key that is empty, too long or not printable."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not is_idempotency_key(key):
        raise ValidationFailed({"Idempotency-Key": ["1 to 255 printable ASCII characters"]})
    return key


def is_idempotency_key(text: str) -> bool:
    """Whether this may be a key."""
    return _IDEMPOTENCY_KEY.match(text) is not None


def versions_held() -> list[int]:
    """The versions that If-None-Match names; weak or not, since proxies that compress weaken it."""
    header = request.headers.get("If-None-Match")
    return [int(version) for version in _VERSION.findall(header)] if header else []


def holds(version: int) -> bool:
    """Whether If-None-Match says that the client has this version (RFC 9110, 13.1.2)."""
    return version in versions_held() or request.headers.get("If-None-Match") == "*"


def preferred_wait() -> int:
    """Seconds of ``Prefer: wait=N`` (RFC 7240), as far as they are granted; 0 without it."""
    preference = request.headers.get("Prefer")
    found = _WAIT.search(preference) if preference else None
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def _load(schema: Schema, data: object) -> dict[str, Any]:
    try:
        return dict(schema.load(data))  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValidationFailed(_flatten(error.messages_dict)) from None


def _flatten(messages: Mapping[Any, Any], prefix: str = "") -> dict[str, list[str]]:
    """Member path -> messages; what concerns the body as a whole stands under ``body``."""
    flat: dict[str, list[str]] = {}
    for name, value in messages.items():
        path = "body" if name == "_schema" else f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{path}."))
        else:
            flat[path] = [str(message) for message in value]
    return flat
