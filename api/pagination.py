"""Cursors: where a page begins, opaque to clients so that it may change."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from api.errors import ValidationFailed


def encode(place: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).rstrip(b"=").decode()


def offset(cursor: str | None) -> int:
    """How many entries come before the page. Raises ``ValidationFailed``."""
    place = _decode(cursor) if cursor else 0
    if type(place) is not int or place < 0:
        raise _unknown()
    return place


def position(cursor: str | None) -> tuple[int, str] | None:
    """The (createdAt in ms, id) of the last job before the page. Raises ``ValidationFailed``."""
    if not cursor:
        return None
    match _decode(cursor):
        case [int(created_at), str(job_id)]:
            return created_at, job_id
    raise _unknown()


def _decode(cursor: str) -> Any:
    try:
        return orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        raise _unknown() from None


def _unknown() -> ValidationFailed:
    return ValidationFailed({"cursor": ["Not a cursor that this call gave out"]})
