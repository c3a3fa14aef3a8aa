"""Usage as CSV (RFC 4180), which spreadsheets open without running anything in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from common.history.usage import UsageOfDay

MEDIA_TYPE: Final = "text/csv"
COLUMNS: Final = ("day", "user", "jobs", "completed", "failed", "cancelled", "bytes")
#: A cell that begins with one of these is a formula for spreadsheets (OWASP, "CSV Injection").
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def to_csv(rows: Iterable[UsageOfDay]) -> str:
    """Return the rows with a header line."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        counts = (row.jobs, row.completed, row.failed, row.cancelled, row.bytes)
        writer.writerow((row.day.isoformat(), _text(row.owner), *counts))
    return output.getvalue()


def _text(value: str) -> str:
    """Return a cell that is not a formula."""
    return f"'{value}" if value.startswith(_FORMULA) else value
