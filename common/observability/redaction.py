"""Takes secrets out of what is logged or reported: by the name, by the form and by the value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from structlog.typing import EventDict, WrappedLogger

MASK: Final = "***"
#: A shorter value would take innocent words out of every line.
SHORTEST: Final = 6
#: Containers nested deeper than this are not looked into but left out.
DEEPEST: Final = 16

_NAMES: Final = re.compile(
    r"authorization|cookie|passw|secret|token|credential|api_?key|private_?key"
    r"|(?:download|callback|presigned|signed)_?url|ticket",
    re.IGNORECASE,
)
#: What is found, and what stays of it.
_FORMS: Final = (
    # A password in a URL.
    (re.compile(r"(://[^/\s:@]*:)[^@/\s]+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {MASK}"),
    # A signed token by itself: two JSON objects and a signature.
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"\bwhsec_[\w+/=-]+"), MASK),
    (
        re.compile(
            r"([?&](?:[\w-]*(?:token|ticket|secret|signature|credential|passw)[\w-]*|sig|key)=)"
            r"[^&\s\"'<>\\]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)


class Redactor:
    """Also a structlog processor: put it behind whatever turns exceptions into text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """``secrets``: values that are known to be secret."""
        known = sorted((s for s in secrets if len(s) >= SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {name: self._member(name, value, 0) for name, value in event.items()}

    def clean(self, value: Any, depth: int = 0) -> Any:
        """The value without secrets; what is no text, number or container is shown as text."""
        if value is None or isinstance(value, int | float):
            return value
        if depth > DEEPEST:
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
        return self.clean(value, depth)

    def _text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for form, kept in _FORMS:
            text = form.sub(kept, text)
        return text
