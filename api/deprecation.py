"""Announces that a call will be removed: ``Deprecation`` (RFC 9745) and ``Sunset`` (RFC 8594)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Deprecation:
    """Since when a call is deprecated, when it will be removed, and where clients learn more."""

    since: datetime | None = None
    sunset: datetime | None = None
    #: Of a page for developers; empty: none.
    url: str = ""

    @classmethod
    def parse(cls, since: str, sunset: str, url: str) -> Self:
        """Return the deprecation by two ISO 8601 times, which are UTC unless they say otherwise.

        Raise ``ValueError`` if one is malformed, if the call would be removed before it is
        deprecated (RFC 9745, 4), or if the URL cannot be part of a header.
        """
        parsed = cls(since=_time(since), sunset=_time(sunset), url=url)
        if parsed.since and parsed.sunset and parsed.sunset < parsed.since:
            raise ValueError("the sunset is earlier than the deprecation")
        if not url.isascii() or not url.isprintable() or set(url) & set('<>" '):
            raise ValueError("the URL is malformed")
        return parsed

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of each response to the call; none if it is not deprecated."""
        headers = []
        if self.since is not None:
            # A Date of Structured Fields (RFC 9651, 3.3.7).
            headers.append(("Deprecation", f"@{int(self.since.timestamp())}"))
        if self.sunset is not None:
            headers.append(("Sunset", format_datetime(self.sunset, usegmt=True)))
        if headers and self.url:
            headers.append(("Link", f'<{self.url}>; rel="deprecation"; type="text/html"'))
        return headers


def _time(text: str) -> datetime | None:
    if not text:
        return None
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
