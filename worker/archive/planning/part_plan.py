"""Divides the headers, contents and directory of an archive into parts. Pure: no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from worker.archive.planning.layout import (
    ByteSpan,
    Item,
    PartKind,
    PartSizes,
    SpanKind,
    UnnumberedPart,
)


class PartPlanner:
    """Divides a sequence of items into parts."""

    def __init__(self, items: Sequence[Item], part_sizes: PartSizes) -> None:
        self._items = items
        self._part_sizes = part_sizes
        #: Spans to be written that are not in a part yet, and their number of bytes.
        self._run: list[ByteSpan] = []
        self._length = 0

    def parts(self, directory_size: int) -> Iterator[UnnumberedPart]:
        """Yield the parts in the order of the archive."""
        for index, item in enumerate(self._items):
            self._add(ByteSpan(SpanKind.HEADER, index, 0, item.header_size))
            data = ByteSpan(SpanKind.DATA, index, 0, item.size)
            if not self._copyable(item):
                self._add(data)
                continue
            yield from self._large(data)
        self._add(ByteSpan(SpanKind.DIRECTORY, -1, 0, directory_size))
        if self._part_sizes.equal_parts:
            yield from self._equal_parts()
        else:
            yield from self._written(last=True)

    def _copyable(self, item: Item) -> bool:
        # Ranges can only be copied from objects larger than the minimum part.
        part_sizes = self._part_sizes
        return item.copyable and item.size > part_sizes.min_part_size and not part_sizes.equal_parts

    def _add(self, span: ByteSpan) -> None:
        if span.length:
            self._run.append(span)
            self._length += span.length

    def _large(self, data: ByteSpan) -> Iterator[UnnumberedPart]:
        """Yield the written part before a large file, with its first bytes, and the copied rest.

        If the rest would be too short to be copied, the whole file remains to be written.
        """
        yield from self._written(last=False)
        min_part_size = self._part_sizes.min_part_size
        fill_size = min_part_size - self._length if self._run else 0
        if data.length - fill_size < min_part_size:
            self._add(data)
            return
        self._add(_slice(data, 0, fill_size))
        yield from self._written(last=False)
        yield from self._copied(_slice(data, fill_size, data.length - fill_size))

    def _copied(self, data: ByteSpan) -> Iterator[UnnumberedPart]:
        count = -(-data.length // self._part_sizes.copy_size)
        for i in range(count):
            start, end = data.length * i // count, data.length * (i + 1) // count
            yield PartKind.COPY, [_slice(data, start, end - start)]

    def _written(self, *, last: bool) -> Iterator[UnnumberedPart]:
        """Yield the written parts. Before the end, what is too short for a part remains."""
        write_size, min_part_size = self._part_sizes.write_size, self._part_sizes.min_part_size
        run, rest = deque(self._run), self._length
        part: list[ByteSpan] = []
        length = 0
        while run:
            span = run.popleft()
            space = write_size - length
            if span.kind is not SpanKind.HEADER and 0 < space < span.length - min_part_size:
                run.appendleft(_slice(span, space, span.length - space))
                span = _slice(span, 0, space)
            part.append(span)
            length += span.length
            # What remains must be long enough for another part.
            if length >= write_size and (last or rest - length >= min_part_size):
                yield PartKind.WRITE, part
                part, rest, length = [], rest - length, 0
        if part and (last or length >= self._part_sizes.min_part_size):
            yield PartKind.WRITE, part
            part, length = [], 0
        self._run, self._length = part, length

    def _equal_parts(self) -> Iterator[UnnumberedPart]:
        """Yield parts of exactly ``write_size`` bytes and a last one with the rest."""
        part: list[ByteSpan] = []
        space = self._part_sizes.write_size
        for span in self._run:
            while span.length:
                piece = _slice(span, 0, min(space, span.length))
                span = _slice(span, piece.length, span.length - piece.length)
                part.append(piece)
                space -= piece.length
                if space == 0:
                    yield PartKind.WRITE, part
                    part, space = [], self._part_sizes.write_size
        if part:
            yield PartKind.WRITE, part


def _slice(span: ByteSpan, start: int, length: int) -> ByteSpan:
    return ByteSpan(span.kind, span.item, span.start + start, length)
