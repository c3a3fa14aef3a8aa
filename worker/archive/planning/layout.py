"""What an archive is laid out of: items, spans of them, and parts of the upload.

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

from dataclasses import dataclass, replace
from enum import Enum

from worker.archive.zip_format import records

MIB = 1024 * 1024
GIB = 1024 * MIB
#: The store takes no larger part.
LARGEST_PART = 5 * GIB
#: A part that the worker writes stands in its memory as a whole.
LARGEST_WRITTEN = 24 * MIB


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
        return records.needs_zip64(self.size)

    @property
    def header_size(self) -> int:
        return records.local_header_size(self.raw_name, zip64=self.zip64)


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
    #: Every part but the last has exactly ``write`` bytes, as some stores want it (Cloudflare R2);
    #: nothing is copied then.
    equal: bool = False

    def doubled(self) -> Geometry:
        """Parts twice as large, as far as the store and the worker's memory allow that."""
        return replace(
            self,
            write=min(self.write * 2, max(self.write, LARGEST_WRITTEN)),
            copy=min(self.copy * 2, LARGEST_PART),
        )
