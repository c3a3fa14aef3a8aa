"""The units of an archive's layout: items, spans of bytes, and parts of the upload.

An archive is a sequence of headers, file contents and the central directory. The storage can copy
contents by itself, but only as parts of 5 MiB or more, and from objects larger than that; headers
have to be put in between. Two kinds of parts achieve that:

``WRITE``   bytes that the worker uploads: headers, small files, the directory. Headers alone are
            too short for a part, so the first bytes of the file behind them are added. Of a file
            below 10 MiB no part would remain to be copied: it is written as a whole, together with
            the next header, and the next file is copied as a whole.
``COPY``    a range of a large file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from worker.archive.zip_format import records

MIB = 1024 * 1024
GIB = 1024 * MIB
#: The limit of S3 for a part.
MAX_PART_SIZE = 5 * GIB
#: The worker holds a part that it writes in memory.
MAX_WRITTEN_PART_SIZE = 24 * MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One member of the archive, reduced to what its layout depends on."""

    raw_name: bytes
    size: int
    time: int
    #: The storage can copy ranges of it.
    copyable: bool

    @property
    def zip64(self) -> bool:
        return records.needs_zip64(self.size)

    @property
    def header_size(self) -> int:
        return records.local_header_size(self.raw_name, zip64=self.zip64)


class SpanKind(Enum):
    """What the bytes of a span are."""

    HEADER = "header"
    DATA = "data"
    #: The central directory and the end records.
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """``length`` bytes, from ``start`` on, of one header, one file, or the directory."""

    kind: SpanKind
    item: int
    start: int
    length: int


class PartKind(Enum):
    """How a part gets into the storage; see the top of this module."""

    WRITE = "write"
    COPY = "copy"


#: A part before it has a number and an offset.
UnnumberedPart = tuple[PartKind, list[ByteSpan]]


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One part of the upload. A COPY has one span, a range of a file."""

    number: int
    kind: PartKind
    offset: int
    spans: tuple[ByteSpan, ...]

    @property
    def size(self) -> int:
        return sum(span.length for span in self.spans)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSizes:
    """The sizes of parts, in bytes."""

    min_part_size: int = 5 * MIB
    #: A written part is uploaded once it has this size; it may be ``2 * min_part_size`` longer.
    write_size: int = 6 * MIB
    #: The limit for a copied range, so that there is progress and little to repeat.
    copy_size: int = 64 * MIB
    max_parts: int = 10_000
    #: All parts except the last have exactly ``write_size`` bytes, which some storages require
    #: (Cloudflare R2). Nothing is copied then.
    equal_parts: bool = False

    def doubled(self) -> PartSizes:
        """Return sizes twice as large, within the limits of S3 and of the worker's memory."""
        return replace(
            self,
            write_size=min(self.write_size * 2, max(self.write_size, MAX_WRITTEN_PART_SIZE)),
            copy_size=min(self.copy_size * 2, MAX_PART_SIZE),
        )
