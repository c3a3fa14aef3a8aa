"""Cursors of pages. They are opaque to clients, so that their content may change."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

import orjson

from api import parsing
from api.errors import ValidationFailed

#: The last millisecond of the year 9999, which is the last one that Python and PostgreSQL both
#: represent.
_MAX_TIME: Final = 253_402_300_799_999
#: The ID of an entry of a Redis stream: milliseconds and a number.
_ENTRY_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}\Z")


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
        # The type is compared because True is an int too.
        case [created_at, str(job_id)] if (
            type(created_at) is int and 0 <= created_at <= _MAX_TIME and parsing.is_job_id(job_id)
        ):
            return created_at, job_id
    raise _invalid_cursor()


def decode_entry_id(cursor: str | None) -> str | None:
    """Return the ID of the last entry of a stream before the page.

    Raises ``ValidationFailed`` for invalid cursors.
    """
    if not cursor:
        return None
    entry_id = _decode(cursor)
    if not isinstance(entry_id, str) or not _ENTRY_ID.match(entry_id):
        raise _invalid_cursor()
    return entry_id


def _decode(cursor: str) -> Any:
    try:
        return orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        raise _invalid_cursor() from None


def _invalid_cursor() -> ValidationFailed:
    return ValidationFailed(
        {"cursor": ["Invalid cursor. Use the nextCursor of the previous page."]}
    )
