"""Prints the rounds of two contenders as a table: medians, and medians of the ratios per round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

#: Row: unit, and the target and moonshot of ours / peer.
Rows = Mapping[str, tuple[str, str, str]]
#: Contender ("ours", "peer"): the figures of each round by row. A figure may be missing.
Rounds = Mapping[str, list[dict[str, float]]]


def table(rows: Rows, rounds: Rounds) -> str:
    """Return a Markdown table."""
    lines = [
        "| row | ours | peer | ours / peer | target | moonshot |",
        "|---|---|---|---|---|---|",
    ]
    for row, (unit, target, moonshot) in rows.items():
        ours, peer = rounds["ours"], rounds.get("peer", [])
        pairs = zip(ours, peer, strict=False)
        ratios = [a[row] / b[row] for a, b in pairs if row in a and b.get(row)]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        cells = f"{_median(ours, row)} | {_median(peer, row)} | {ratio} | {target} | {moonshot}"
        lines.append(f"| {row}, {unit} | {cells} |")
    return "\n".join(lines)


def _median(found: Sequence[Mapping[str, float]], row: str) -> str:
    values = [figures[row] for figures in found if row in figures]
    return f"{statistics.median(values):.4g}" if values else ""
