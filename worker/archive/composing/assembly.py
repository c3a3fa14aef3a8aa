"""A written part in the making: its buffer, and the reads that fill it."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.archive.planning.layout import Piece, PlannedPart, Span

#: Where a header or file stands in the previous archive, or None.
Position = Callable[[Span], int | None]


@dataclass(frozen=True, slots=True)
class Slot:
    """One span and its place in the part's buffer."""

    span: Span
    at: int


@dataclass(frozen=True, slots=True)
class Read:
    """One request: the slots that it fills, which lie side by side; none if nothing is to be read.

    ``previous`` is where the bytes stand in the previous archive; None: they come from the source.
    """

    assembly: Assembly
    slots: tuple[Slot, ...]
    previous: int | None

    @property
    def view(self) -> memoryview:
        first, last = self.slots[0], self.slots[-1]
        return self.assembly.buffer[first.at : last.at + last.span.length]


class Assembly:
    """The spans of one part that the worker writes."""

    def __init__(self, planned: PlannedPart, *, files: int) -> None:
        """``files`` is how many items are files; an item behind them is the manifest."""
        self.planned = planned
        self.slots: list[Slot] = []
        at = 0
        for span in planned.written:
            self.slots.append(Slot(span, at))
            at += span.length
        # Pages of its own, given back at once: the heap would keep and splinter them.
        self.buffer = memoryview(mmap.mmap(-1, at))
        #: Holds the directory or the manifest, which need every file's checksum.
        self.closing = any(s.piece is Piece.TAIL or s.item >= files for s in planned.written)
        self.reads_left = 0
        self._files = files

    def view(self, slot: Slot) -> memoryview:
        return self.buffer[slot.at : slot.at + slot.span.length]

    def reads(self, position: Position) -> Iterator[Read]:
        """At least one, so that a part without files gets its turn as well."""
        runs = [
            (previous, slots)
            for previous, slots in self._runs(position)
            if any(slot.span.piece is Piece.DATA for slot in slots)
        ] or [(None, [])]
        self.reads_left = len(runs)
        for previous, slots in runs:
            yield Read(self, tuple(slots), previous)

    def _runs(self, position: Position) -> list[tuple[int | None, list[Slot]]]:
        """Neighbours in the previous archive are one run; any other file is one by itself."""
        runs: list[tuple[int | None, list[Slot]]] = []
        end: int | None = None
        for slot in self.slots:
            span = slot.span
            start = position(span)
            if start is not None and start == end:
                runs[-1][1].append(slot)
            elif start is not None or (span.piece is Piece.DATA and span.item < self._files):
                runs.append((start, [slot]))
            end = None if start is None else start + span.length
        return runs
