"""Parses server-sent events from a stream of bytes (HTML standard, section 9.2.6).

The package httpx-sse does not replace this module: it buffers lines and events of any size, delays
an event whose last line ends with CR until the next bytes arrive, and does not skip a byte order
mark.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Maximum number of characters in a line or an event. Anything longer is an attack or a fault.
MAX_LENGTH = 1 << 20

_LINE_END = re.compile("\r\n|\n|\r")


class EventTooLong(ValueError):
    """A line or an event of the stream is longer than ``MAX_LENGTH``."""


@dataclass(frozen=True)
class Event:
    """A dispatched event."""

    type: str
    data: str
    #: The id of this event, or of the latest earlier one that had an id.
    last_event_id: str


class EventParser:
    """An incremental parser: feed it chunks of any size, it yields complete events.

    ``last_event_id`` and ``retry`` (milliseconds) are the latest values of the stream. They belong
    to the connection, so an event without data sets them too.
    """

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        self._at_start = True
        self._after_cr = False
        self._id = ""
        self._type = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that this chunk completes. Raise ``EventTooLong`` if one is too long."""
        for line in self._lines(self._decoder.decode(chunk)):
            if line:
                self._field(line)
            elif event := self._dispatch():
                yield event

    def _lines(self, text: str) -> Iterator[str]:
        if self._at_start and text:
            text = text.removeprefix("\ufeff")
            self._at_start = False
        if self._after_cr and text:
            # The CR already ended the line. A LF right after it belongs to the same line ending.
            text = text.removeprefix("\n")
            self._after_cr = False
        self._after_cr = self._after_cr or text.endswith("\r")
        *lines, self._text = _LINE_END.split(self._text + text)
        if len(self._text) > MAX_LENGTH:
            raise EventTooLong(f"a line has more than {MAX_LENGTH} characters")
        yield from lines

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._size += len(value) + 1
                if self._size > MAX_LENGTH:
                    raise EventTooLong(f"an event has more than {MAX_LENGTH} characters")
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)

    def _dispatch(self) -> Event | None:
        # Not earlier: an event that is cut off was not received, so its id must not count.
        self.last_event_id = self._id
        data, kind = self._data, self._type or "message"
        self._data, self._type, self._size = [], "", 0
        return Event(kind, "\n".join(data), self.last_event_id) if data else None
