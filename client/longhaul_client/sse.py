"""Server-sent events, parsed as the HTML standard says (section 9.2.6), from bytes as they come."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Characters. A line or an event beyond this is an attack or a fault, not a job.
LIMIT = 1 << 20

_LINE_END = re.compile("\r\n|\n|\r")


class EventTooLong(ValueError):
    """The stream sent a line or an event longer than ``LIMIT``."""


@dataclass(frozen=True)
class Event:
    """One dispatched event."""

    type: str
    data: str
    #: The id of this event or of the last one before it that had one.
    last_event_id: str


class EventParser:
    """Feed it chunks, cut anywhere; it yields every event that is complete.

    ``last_event_id`` and ``retry`` (milliseconds) are what the stream has said so far: both belong
    to the connection rather than to an event, and are kept when an event carries no data.
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
        """The events that this chunk completes; ``EventTooLong`` when one grows beyond bounds."""
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
            # The CR ended its line already; a LF that follows it belongs to the same line end.
            text = text.removeprefix("\n")
            self._after_cr = False
        self._after_cr = self._after_cr or text.endswith("\r")
        *lines, self._text = _LINE_END.split(self._text + text)
        if len(self._text) > LIMIT:
            raise EventTooLong(f"a line of more than {LIMIT} characters")
        yield from lines

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._size += len(value) + 1
                if self._size > LIMIT:
                    raise EventTooLong(f"an event of more than {LIMIT} characters")
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)

    def _dispatch(self) -> Event | None:
        # Only here: the id of an event that is cut off must not count as seen.
        self.last_event_id = self._id
        data, kind = self._data, self._type or "message"
        self._data, self._type, self._size = [], "", 0
        return Event(kind, "\n".join(data), self.last_event_id) if data else None
