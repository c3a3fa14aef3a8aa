"""Where the row of headers, contents and directory is cut into parts. Pure: no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence

from worker.archive.planning.layout import Cut, Geometry, Item, Kind, Piece, Span


class PartPlanner:
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
        yield from self._equals() if self._g.equal else self._writes(last=True)

    def _copyable(self, item: Item) -> bool:
        # Ranges can be copied from objects larger than the least part only.
        return item.copyable and item.size > self._g.least and not self._g.equal

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

    def _equals(self) -> Iterator[Cut]:
        """Parts of exactly ``write`` bytes and a last one of the rest; headers are cut as well."""
        part: list[Span] = []
        room = self._g.write
        for span in self._run:
            while span.length:
                piece = _slice(span, 0, min(room, span.length))
                span = _slice(span, piece.length, span.length - piece.length)
                part.append(piece)
                room -= piece.length
                if room == 0:
                    yield Kind.WRITE, part
                    part, room = [], self._g.write
        if part:
            yield Kind.WRITE, part


def _slice(span: Span, start: int, length: int) -> Span:
    return Span(span.piece, span.item, span.start + start, length)
