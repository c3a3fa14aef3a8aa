"""The layout of an archive, exact to the byte before any file is read. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from worker.archive.planning.layout import Item, PartSizes, PlannedPart, UnnumberedPart
from worker.archive.planning.part_plan import PartPlanner
from worker.archive.zip_format import records


class PlanError(Exception):
    """The archive needs more parts than an upload may have."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The items, parts and offsets of an archive, in bytes from its beginning."""

    items: tuple[Item, ...]
    parts: tuple[PlannedPart, ...]
    #: The offset of each item's header.
    offsets: tuple[int, ...]
    directory_offset: int
    directory_size: int

    @property
    def size(self) -> int:
        return self.directory_offset + self.directory_size

    def directory(self, crc32s: Sequence[int]) -> bytes:
        """Return the central directory and the end records for the items' checksums."""
        entries = b"".join(
            records.central_entry(i.raw_name, size=i.size, crc32=crc, time=i.time, offset=offset)
            for i, crc, offset in zip(self.items, crc32s, self.offsets, strict=True)
        )
        return entries + records.end_records(
            count=len(self.items), size=len(entries), offset=self.directory_offset
        )

    def header(self, item: int, crc32: int) -> bytes:
        """Return the local header of an item."""
        i = self.items[item]
        return records.local_header(
            i.raw_name, size=i.size, crc32=crc32, time=i.time, zip64=i.zip64
        )


def make_plan(items: Sequence[Item], part_sizes: PartSizes) -> Plan:
    """Return the plan; it depends on nothing but ``items`` and ``part_sizes``.

    Raise PlanError if the items do not fit into ``max_parts`` parts of any size.
    """
    lengths = [item.header_size + item.size for item in items]
    offsets = tuple(accumulate(lengths, initial=0))
    entries_size = sum(
        records.central_entry_size(item.raw_name, size=item.size, offset=offset)
        for item, offset in zip(items, offsets, strict=False)
    )
    directory_size = entries_size + records.end_records_size(
        count=len(items), size=entries_size, offset=offsets[-1]
    )
    while True:
        parts = tuple(_numbered(PartPlanner(items, part_sizes).parts(directory_size)))
        if len(parts) <= part_sizes.max_parts:
            break
        larger = part_sizes.doubled()
        if larger == part_sizes:
            raise PlanError
        part_sizes = larger
    return Plan(
        items=tuple(items),
        parts=parts,
        offsets=offsets[:-1],
        directory_offset=offsets[-1],
        directory_size=directory_size,
    )


def _numbered(parts: Iterator[UnnumberedPart]) -> Iterator[PlannedPart]:
    offset = 0
    for number, (kind, spans) in enumerate(parts, start=1):
        part = PlannedPart(number, kind, offset, tuple(spans))
        offset += part.size
        yield part
