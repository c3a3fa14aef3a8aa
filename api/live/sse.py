"""The text/event-stream format, as bytes: pure, no I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

#: Milliseconds after which a client that lost its stream comes back.
RETRY_MS: Final = 2000

#: A line that clients ignore; it keeps proxies from taking the stream for dead.
COMMENT: Final = b":\n\n"

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


def message(data: bytes, *, event: str | None, version: int) -> bytes:
    """One event. Without ``event`` it reaches ``EventSource.onmessage``.

    ``data`` may hold any bytes: each kind of line end starts a new ``data`` line, so that no
    content can end the event or forge a field. Raises ``ValueError`` for an event name that would.
    """
    name = b"" if event is None else b"event: %b\n" % _field(event)
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    return b"%bid: %d\ndata: %b\n\n" % (name, version, data)


def retry() -> bytes:
    """Tells the client how long to wait before it comes back."""
    return b"retry: %d\n\n" % RETRY_MS


def last_event_id(*sources: str | None) -> int | None:
    """The version in the first of these that is present and is one; None when the client has none.

    A client may send anything here (the format itself keeps line ends and NUL out of ids), so what
    is no plain number counts as no id: the client then gets a snapshot.
    """
    for text in sources:
        if text is not None and text.isascii() and text.isdigit() and len(text) < 16:
            return int(text)
    return None


# Few names, met in every event.
@cache
def _field(text: str) -> bytes:
    if any(mark in text for mark in "\r\n\0"):
        raise ValueError("a field of an event must not hold CR, LF or NUL")
    return text.encode()
