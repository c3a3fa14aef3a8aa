"""Formats JSON log lines for people."""

from __future__ import annotations

import json


def readable(line: str) -> str:
    """Return a JSON log line as ``level  event  key=value …``, and any other line unchanged.

    Omit the time: on a terminal each line appears when it is written.
    """
    try:
        fields = json.loads(line)
        event, level = fields.pop("event"), fields.pop("level")
    except (ValueError, KeyError, AttributeError, TypeError):
        return line
    fields.pop("timestamp", None)
    trace = fields.pop("exception", None)
    rest = "".join(f"  {name}={value}" for name, value in fields.items())
    return f"{level:<8} {event}{rest}" + (f"\n{trace}" if trace else "")
