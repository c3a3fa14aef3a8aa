"""Removes secrets from logs and error reports: by name, by pattern and by value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from structlog.typing import EventDict, WrappedLogger

MASK: Final = "***"
#: Shorter values are not removed: they would match ordinary words.
MIN_LENGTH: Final = 6
#: Containers nested deeper than this are masked as a whole.
MAX_DEPTH: Final = 16

_NAMES: Final = re.compile(
    r"authorization|cookie|passw|secret|token|credential|api_?key|private_?key"
    r"|(?:download|callback|presigned|signed)_?url|ticket",
    re.IGNORECASE,
)
#: Members with the query of a URL, without its question mark (WSGI, Sentry).
_QUERIES: Final = re.compile(r"\Aquery_?string\Z", re.IGNORECASE)
#: Parameters of signed URLs whose names _NAMES does not cover.
_SIGNATURES: Final = re.compile(r"signature|\A(?:sig|key)\Z", re.IGNORECASE)
#: Patterns with their replacements. Strangers choose the texts, so the look-aheads keep the time
#: linear.
_PATTERNS: Final = (
    # A password in a URL.
    (re.compile(r"(://[^/\s:@]*:)[^@/\s]+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {MASK}"),
    # A JWT: two JSON objects and a signature.
    (
        re.compile(r"(?<![\w-])(?=[\w-]+\.[\w-]+\.)([\w-]*?)\beyJ[\w-]+\.[\w-]+\.[\w-]*", re.ASCII),
        rf"\1{MASK}",
    ),
    # A link to an archive.
    (re.compile(r"(/d/)[0-9a-f][\w-]{43}"), rf"\1{MASK}"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), MASK),
    (
        re.compile(
            r"([?&](?=[\w-]+=[^&\s\"'<>\\])"
            r"(?:[\w-]*(?:token|ticket|secret|signature|credential|passw)[\w-]*|sig|key)=)"
            r"[^&\s\"'<>\\]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)


class Redactor:
    """Removes secrets from values. As a structlog processor, put it after ``format_exc_info``."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """``secrets``: values to remove."""
        values = sorted((s for s in secrets if len(s) >= MIN_LENGTH), key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, values))) if values else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {name: self._member(name, value, 0) for name, value in event.items()}

    def clean(self, value: Any, depth: int = 0) -> Any:
        """Return the value without secrets, with other types than JSON's converted to text."""
        if value is None or isinstance(value, int | float):
            return value
        if depth > MAX_DEPTH:
            return MASK
        if isinstance(value, Mapping):
            return {
                self._text(str(name)): self._member(str(name), member, depth + 1)
                for name, member in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean(member, depth + 1) for member in value]
        return self._text(value if isinstance(value, str) else repr(value))

    def _member(self, name: str, value: Any, depth: int) -> Any:
        if isinstance(value, str) and value and _NAMES.search(name):
            return MASK
        if _QUERIES.match(name):
            return self._query(value) if isinstance(value, str) else MASK
        return self.clean(value, depth)

    def _query(self, text: str) -> str:
        """Return a query without secrets. A name may be percent-encoded, as servers decode it."""
        parameters = []
        for parameter in text.split("&"):
            name, equals, value = parameter.partition("=")
            decoded = unquote_plus(name)
            if _NAMES.search(decoded) or _SIGNATURES.search(decoded):
                value = MASK
            parameters.append(f"{name}{equals}{value}")
        return self._text("&".join(parameters))

    def _text(self, text: str) -> str:
        if self._values is not None:
            text = self._values.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text
