"""Cursors of pages. They are opaque to clients, so that their content may change."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from api.errors import ValidationFailed


def encode_cursor(position: object) -> str:
    """Return a cursor for the page after ``position``, which must be JSON serializable."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).rstrip(b"=").decode()


def decode_offset(cursor: str | None) -> int:
    """Return how many entries precede the page. Raise ``ValidationFailed`` for invalid cursors."""
    offset = _decode(cursor) if cursor else 0
    if type(offset) is not int or offset < 0:
        raise _invalid_cursor()
    return offset


def decode_position(cursor: str | None) -> tuple[int, str] | None:
    """Return (milliseconds since 1970, job ID) of the last job before the page.

    Raises ``ValidationFailed`` for invalid cursors.
    """
    if not cursor:
        return None
    match _decode(cursor):
        case [int(created_at), str(job_id)]:
            return created_at, job_id
    raise _invalid_cursor()


def _decode(cursor: str) -> Any:
    try:
        return orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        raise _invalid_cursor() from None


def _invalid_cursor() -> ValidationFailed:
    return ValidationFailed(
        {"cursor": ["Invalid cursor. Use the nextCursor of the previous page."]}
    )
