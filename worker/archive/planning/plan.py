"""The layout of an archive, exact to the byte before anything is read. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from worker.archive.planning.layout import Cut, Geometry, Item, PlannedPart
from worker.archive.planning.part_plan import PartPlanner
from worker.archive.zip_format import records


class PlanError(Exception):
    """No layout fits into the number of parts that an upload may have."""


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
            records.central_entry(i.raw_name, size=i.size, crc32=crc, time=i.time, offset=offset)
            for i, crc, offset in zip(self.items, crc32s, self.offsets, strict=True)
        )
        return directory + records.end_records(
            count=len(self.items), size=len(directory), offset=self.tail_offset
        )

    def header(self, item: int, crc32: int) -> bytes:
        i = self.items[item]
        return records.local_header(
            i.raw_name, size=i.size, crc32=crc32, time=i.time, zip64=i.zip64
        )


def make_plan(items: Sequence[Item], geometry: Geometry) -> Plan:
    """The same items and geometry give the same plan, always.

    Raises Unplannable if they do not fit into ``max_parts`` parts however large those are.
    """
    lengths = [item.header_size + item.size for item in items]
    offsets = tuple(accumulate(lengths, initial=0))
    directory = sum(
        records.central_entry_size(item.raw_name, size=item.size, offset=offset)
        for item, offset in zip(items, offsets, strict=False)
    )
    tail_size = directory + records.end_records_size(
        count=len(items), size=directory, offset=offsets[-1]
    )
    while True:
        parts = tuple(_numbered(PartPlanner(items, geometry).cut(tail_size)))
        if len(parts) <= geometry.max_parts:
            break
        larger = geometry.doubled()
        if larger == geometry:
            raise PlanError
        geometry = larger
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
