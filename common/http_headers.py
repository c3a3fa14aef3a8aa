"""HTTP header values that several parts of the system read."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

#: No server can ask for a longer pause, seconds.
MAX_RETRY_AFTER: Final = 86_400.0


# Cached: files that were uploaded together have the same date.
@lru_cache(maxsize=1024)
def parse_http_date(value: str | None) -> datetime | None:
    """Return the time of an HTTP date (RFC 9110, 5.6.7); None for anything else."""
    try:
        date = parsedate_to_datetime(value or "")
        # A date without a zone is UTC: HTTP dates always are.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds to wait that a ``Retry-After`` header (RFC 9110, 10.2.3) asks for.

    ``now`` is in seconds since 1970. Return None for a missing or malformed value, 0 for a date in
    the past, and never more than ``MAX_RETRY_AFTER``.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER)
    date = parse_http_date(text)
    return None if date is None else min(max(0.0, date.timestamp() - now), MAX_RETRY_AFTER)
