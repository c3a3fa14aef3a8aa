"""The layout of an archive, exact to the byte before anything is read. Pure: no I/O.

An archive is headers, contents and a directory in a row. The store can copy contents by itself,
but only as parts of 5 MiB or more, from objects larger than that, and headers have to get in
between. Three kinds of parts do it:

``WRITE``   bytes that the worker puts together: headers, small files, the directory. Where a header
            alone would be too short, the first bytes of the file behind it fill the part up.
``COPY``    a range of a large file.
``LADDER``  the end of a large file and the header behind it. A part may be short if it is the
            last, so both become a temporary object of two parts, and that is copied as one part:
            no byte of the large file passes the worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate

from worker.archive import zipformat

MIB = 1024 * 1024
GIB = 1024 * MIB
#: The store takes no larger part.
LARGEST_PART = 5 * GIB


class Unplannable(Exception):
    """No layout fits into the number of parts that an upload may have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One member as the layout sees it."""

    raw_name: bytes
    size: int
    time: int
    #: The store can copy ranges of it.
    copyable: bool

    @property
    def zip64(self) -> bool:
        return zipformat.needs_zip64(self.size)

    @property
    def header_size(self) -> int:
        return zipformat.local_header_size(self.raw_name, zip64=self.zip64)


class Piece(Enum):
    HEADER = "header"
    DATA = "data"
    #: The directory and the records behind it.
    TAIL = "tail"


@dataclass(frozen=True, slots=True)
class Span:
    """``length`` bytes of one header, one file (from ``start`` on) or the tail."""

    piece: Piece
    item: int
    start: int
    length: int


class Kind(Enum):
    WRITE = "write"
    COPY = "copy"
    LADDER = "ladder"


Cut = tuple[Kind, list[Span]]


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One part of the upload. A LADDER's first span is copied, its others are written."""

    number: int
    kind: Kind
    offset: int
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        return sum(span.length for span in self.spans)

    @property
    def copied(self) -> Span | None:
        return None if self.kind is Kind.WRITE else self.spans[0]

    @property
    def written(self) -> tuple[Span, ...]:
        if self.kind is Kind.WRITE:
            return self.spans
        return self.spans[1:] if self.kind is Kind.LADDER else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """How large parts are, in bytes."""

    least: int = 5 * MIB
    #: A written part is sent once it has as much; it may be ``2 * least`` longer.
    write: int = 6 * MIB
    #: Ranges are copied in pieces of at most this, for progress and for resuming.
    copy: int = 64 * MIB
    max_parts: int = 10_000

    def doubled(self) -> Geometry:
        return replace(self, write=self.write * 2, copy=min(self.copy * 2, LARGEST_PART))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where everything is, in bytes from the beginning of the archive."""

    items: tuple[Item, ...]
    parts: tuple[PlannedPart, ...]
    #: Of each item's header.
    offsets: tuple[int, ...]
    tail_offset: int
    tail_size: int

    @property
    def size(self) -> int:
        return self.tail_offset + self.tail_size

    def tail(self, crc32s: Sequence[int]) -> bytes:
        """The directory and the end records for the items' checksums."""
        directory = b"".join(
            zipformat.central_entry(i.raw_name, size=i.size, crc32=crc, time=i.time, offset=offset)
            for i, crc, offset in zip(self.items, crc32s, self.offsets, strict=True)
        )
        return directory + zipformat.end_records(
            count=len(self.items), size=len(directory), offset=self.tail_offset
        )

    def header(self, item: int, crc32: int) -> bytes:
        i = self.items[item]
        return zipformat.local_header(
            i.raw_name, size=i.size, crc32=crc32, time=i.time, zip64=i.zip64
        )


def make_plan(items: Sequence[Item], geometry: Geometry) -> Plan:
    """The same items and geometry give the same plan, always.

    Raises Unplannable if they do not fit into ``max_parts`` parts however large those are.
    """
    lengths = [item.header_size + item.size for item in items]
    offsets = tuple(accumulate(lengths, initial=0))
    directory = sum(
        zipformat.central_entry_size(item.raw_name, size=item.size, offset=offset)
        for item, offset in zip(items, offsets, strict=False)
    )
    tail_size = directory + zipformat.end_records_size(
        count=len(items), size=directory, offset=offsets[-1]
    )
    while True:
        parts = tuple(_numbered(_Cutter(items, geometry).cut(tail_size)))
        if len(parts) <= geometry.max_parts:
            break
        if geometry.copy >= LARGEST_PART or geometry.write > GIB:
            raise Unplannable
        geometry = geometry.doubled()
    return Plan(
        items=tuple(items),
        parts=parts,
        offsets=offsets[:-1],
        tail_offset=offsets[-1],
        tail_size=tail_size,
    )


def _numbered(parts: Iterator[Cut]) -> Iterator[PlannedPart]:
    offset = 0
    for number, (kind, spans) in enumerate(parts, start=1):
        part = PlannedPart(number, kind, offset, tuple(spans))
        offset += part.size
        yield part


class _Cutter:
    """Cuts the row of headers, contents and tail into parts."""

    def __init__(self, items: Sequence[Item], geometry: Geometry) -> None:
        self._items = items
        self._g = geometry
        #: Spans that are to be written and not yet in a part, and their bytes.
        self._run: list[Span] = []
        self._length = 0

    def cut(self, tail_size: int) -> Iterator[Cut]:
        large: Span | None = None
        for index, item in enumerate(self._items):
            self._add(Span(Piece.HEADER, index, 0, item.header_size))
            data = Span(Piece.DATA, index, 0, item.size)
            if not self._copyable(item):
                self._add(data)
                continue
            yield from self._between(large)
            large = yield from self._filled(data)
        self._add(Span(Piece.TAIL, -1, 0, tail_size))
        if large is not None:
            yield from self._copies(large)
        yield from self._writes(last=True)

    def _copyable(self, item: Item) -> bool:
        # Ranges can be copied from objects larger than the least part only.
        return item.copyable and item.size > self._g.least

    def _add(self, span: Span) -> None:
        if span.length:
            self._run.append(span)
            self._length += span.length

    def _between(self, large: Span | None) -> Iterator[Cut]:
        """The run stands between ``large``, still to be copied, and another large file."""
        if large is None:
            return
        if self._length >= self._g.least:
            yield from self._copies(large)
            return
        end = large.length if large.length < 2 * self._g.least else self._g.least
        yield from self._copies(_slice(large, 0, large.length - end))
        yield Kind.LADDER, [_slice(large, large.length - end, end), *self._run]
        self._run, self._length = [], 0

    def _filled(self, data: Span) -> Generator[Cut, None, Span | None]:
        """Write the run in front of the large file ``data``; returns what is left to be copied."""
        yield from self._writes(last=False)
        if not self._run:
            return data
        fill = self._g.least - self._length
        if data.length - fill < self._g.least:
            # The rest would be too short to be copied: the file is written as a whole.
            self._add(data)
            return None
        self._add(_slice(data, 0, fill))
        yield from self._writes(last=False)
        return _slice(data, fill, data.length - fill)

    def _copies(self, data: Span) -> Iterator[Cut]:
        count = -(-data.length // self._g.copy)
        for i in range(count):
            start, end = data.length * i // count, data.length * (i + 1) // count
            yield Kind.COPY, [_slice(data, start, end - start)]

    def _writes(self, *, last: bool) -> Iterator[Cut]:
        """Parts of the run; unless it is the archive's end, a run too short for a part remains."""
        run, rest = deque(self._run), self._length
        part: list[Span] = []
        length = 0
        while run:
            span = run.popleft()
            room = self._g.write - length
            if span.piece is not Piece.HEADER and 0 < room < span.length - self._g.least:
                run.appendleft(_slice(span, room, span.length - room))
                span = _slice(span, 0, room)
            part.append(span)
            length += span.length
            # Nothing that is too short for a part of its own is left behind.
            if length >= self._g.write and (last or rest - length >= self._g.least):
                yield Kind.WRITE, part
                part, rest, length = [], rest - length, 0
        if part and (last or length >= self._g.least):
            yield Kind.WRITE, part
            part, length = [], 0
        self._run, self._length = part, length


def _slice(span: Span, start: int, length: int) -> Span:
    return Span(span.piece, span.item, span.start + start, length)
