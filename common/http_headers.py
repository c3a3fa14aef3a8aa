"""HTTP header values that both the worker and the sources read."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

#: No server can ask for a longer pause, seconds.
MAX_RETRY_AFTER: Final = 86_400.0


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds to wait that a ``Retry-After`` header (RFC 9110, 10.2.3) asks for.

    ``now`` is in seconds since 1970. Return None for a missing or malformed value, 0 for a date in
    the past, and never more than ``MAX_RETRY_AFTER``.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
        # A date without a zone is UTC: HTTP dates always are.
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER)
