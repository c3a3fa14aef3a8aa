"""The JSON log lines of the parts as a person reads them."""

from __future__ import annotations

import json


def readable(line: str) -> str:
    """A JSON log line as ``level  event  key=value …``; any other line as it is.

    The time is left out: on a terminal the line comes when it is written.
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
