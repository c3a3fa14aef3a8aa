"""The text/event-stream format (server-sent events) as bytes, without I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

#: Milliseconds after which a disconnected client reconnects.
RETRY_MS: Final = 2000

#: A line that clients ignore; it keeps proxies from closing an idle stream.
COMMENT: Final = b":\n\n"

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def message(data: str, *, event: str | None, version: int | None) -> bytes:
    """Return one event. Without ``event``, browsers pass it to ``EventSource.onmessage``.

    Without ``version``, the event has no ID: a client that reconnects still sends the one before.

    ``data`` may be any text: each kind of line end starts a new ``data`` line, so that no
    content can end the event or forge a field. Raises ``ValueError`` for an event name that would.
    """
    name = "" if event is None else _event_line(event)
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINE_END.split(data))
    event_id = "" if version is None else f"id: {version}\n"
    return f"{name}{event_id}data: {data}\n\n".encode()


def retry() -> bytes:
    """Return the field that sets how long a client waits before it reconnects."""
    return b"retry: %d\n\n" % RETRY_MS


def last_event_id(*sources: str | None) -> int | None:
    """Return the version in the first source that is present and valid, else None.

    A client may send anything here. An id that is not a plain number counts as none: the client
    then gets a snapshot.
    """
    for text in sources:
        if text is not None and text.isascii() and text.isdigit() and len(text) < 16:
            return int(text)
    return None


# There are few names, and every event has one.
@cache
def _event_line(event: str) -> str:
    if any(mark in event for mark in "\r\n\0"):
        raise ValueError("the name of an event must not contain CR, LF or NUL")
    return f"event: {event}\n"
