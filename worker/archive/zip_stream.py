"""An archive whose bytes all pass the worker: for sources of unknown size or without ranges.

The parts of the upload may be sent in any order. So only what holds the header of the file that
is being read is held back until the file's size and checksum are known, and no member needs a
data descriptor. Memory: the part held back (two where a header lies across their border), the one
being filled, and those on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from common.errors import FileTooLarge
from common.object_storage import BadChecksum, Cancellation
from common.sources import Missing, Source, SourceFile
from common.sources.base import Fill
from worker.archive.min_rate import MinRate
from worker.archive.planning.manifest import render
from worker.archive.planning.members import MANIFEST_NAME, Member
from worker.archive.zip_format import records
from worker.archive.zip_format.crc32 import crc32

MIB = 1024 * 1024
#: An upload has no more.
MAX_PARTS = 10_000
#: More than a header and an entry of the directory take, bytes.
OVERHEAD = 1024


def part_size(number: int, *, equal: bool) -> int:
    """Bytes. Small archives cost little memory, and 10,000 parts hold 148 GiB or 156."""
    return 16 * MIB if equal or number > 1000 else 8 * MIB


def capacity(*, equal: bool) -> int:
    """The bytes of the largest archive that can be streamed."""
    return sum(part_size(number, equal=equal) for number in range(1, MAX_PARTS + 1))


@dataclass
class StreamedPart:
    """A part of the upload in the making."""

    number: int
    buffer: memoryview
    filled: int = 0
    #: Holds a header, or some of one, that is not known yet.
    pending: bool = False

    @property
    def content(self) -> memoryview:
        return self.buffer[: self.filled]

    @property
    def rest(self) -> memoryview:
        return self.buffer[self.filled :]

    def take(self, count: int) -> memoryview:
        """The next ``count`` free bytes, counted as filled."""
        self.filled += count
        return self.buffer[self.filled - count : self.filled]


@dataclass
class Stored:
    """A member as it stands in the archive."""

    raw_name: bytes
    time: int
    offset: int
    size: int = 0
    crc32: int = 0


@dataclass
class Streamer:
    """Reads the members one after the other and gives the archive's parts as they are full."""

    source: Source
    members: Sequence[Member]
    #: None: without a manifest.
    missing: Sequence[Missing] | None
    max_bytes: int | None
    #: The store wants parts of one size.
    equal: bool
    pace: MinRate
    cancellation: Cancellation
    progress: Callable[[int], None]
    finished: Callable[[Member, int], None]
    stored: list[Stored] = field(default_factory=list)
    _offset: int = 0
    _part: StreamedPart = field(init=False)
    #: Full parts that wait for a header.
    _held: list[StreamedPart] = field(default_factory=list)

    def parts(self) -> Iterator[StreamedPart]:
        """The parts, each once, in the order in which they are ready."""
        self._part = self._empty(1)
        for member in self.members:
            yield from self._member(member)
        if self.missing is not None:
            yield from self._manifest(self.missing)
        start = self._offset
        for entry in self.stored:
            yield from self._write(
                records.central_entry(
                    entry.raw_name,
                    size=entry.size, crc32=entry.crc32, time=entry.time, offset=entry.offset,
                )
            )  # fmt: skip
        size = self._offset - start
        yield from self._write(records.end_records(count=len(self.stored), size=size, offset=start))
        yield self._part

    def _member(self, member: Member) -> Iterator[StreamedPart]:
        entry = member.entry
        stored = Stored(member.raw_name, member.time, self._offset)
        zip64 = entry.size is None or records.needs_zip64(entry.size)
        header: list[memoryview] = []
        yield from self._room_for(len(_header(stored, zip64)), header)
        with self._reading(entry) as fill:
            while True:
                yield from self._next_if_full()
                view = self._part.rest
                count = fill(view)
                stored.crc32 = crc32(self._part.take(count), stored.crc32)
                stored.size += count
                self._offset += count
                self._within_limit()
                if count < len(view):
                    break
        if entry.crc32 is not None and entry.crc32 != stored.crc32:
            raise BadChecksum(f"File {entry.file_id} is not what its stored checksum says")
        _spread(_header(stored, zip64), header)
        self.stored.append(stored)
        self._part.pending = False
        yield from self._held
        self._held.clear()
        self.finished(member, stored.size)

    @contextmanager
    def _reading(self, entry: SourceFile) -> Iterator[Fill]:
        with self.pace.reading() as advance:

            def progress(count: int) -> None:
                advance(count)
                self.progress(count)

            with self.source.open(entry, cancellation=self.cancellation, progress=progress) as fill:
                yield fill

    def _manifest(self, missing: Sequence[Missing]) -> Iterator[StreamedPart]:
        document = render(
            [(m, s.size) for m, s in zip(self.members, self.stored, strict=True)],
            missing,
            [s.crc32 for s in self.stored],
        )
        stored = Stored(
            MANIFEST_NAME.encode(),
            max((member.time for member in self.members), default=records.EARLIEST),
            self._offset,
            len(document),
            crc32(document),
        )
        self.stored.append(stored)
        yield from self._write(_header(stored, zip64=False))
        yield from self._write(document)

    def _write(self, data: bytes) -> Iterator[StreamedPart]:
        rest = memoryview(data)
        while rest:
            yield from self._next_if_full()
            place = self._part.take(min(len(rest), len(self._part.rest)))
            place[:] = rest[: len(place)]
            rest = rest[len(place) :]
            self._offset += len(place)

    def _room_for(self, size: int, places: list[memoryview]) -> Iterator[StreamedPart]:
        """Append to ``places`` where a header will stand that is known later."""
        while size:
            yield from self._next_if_full()
            places.append(self._part.take(min(size, len(self._part.rest))))
            self._part.pending = True
            size -= len(places[-1])
            self._offset += len(places[-1])

    def _next_if_full(self) -> Iterator[StreamedPart]:
        full = self._part
        if full.rest:
            return
        if full.number == MAX_PARTS:
            raise FileTooLarge("The files are too large together for one archive")
        self._part = self._empty(full.number + 1)
        if full.pending:
            self._held.append(full)
        else:
            yield full

    def _empty(self, number: int) -> StreamedPart:
        return StreamedPart(number, memoryview(bytearray(part_size(number, equal=self.equal))))

    def _within_limit(self) -> None:
        allowed = None if self.max_bytes is None else self.max_bytes + OVERHEAD * len(self.members)
        if allowed is not None and self._offset > allowed:
            raise FileTooLarge(f"The files have more than {self.max_bytes} bytes")


def _header(stored: Stored, zip64: bool) -> bytes:
    return records.local_header(
        stored.raw_name, size=stored.size, crc32=stored.crc32, time=stored.time, zip64=zip64
    )


def _spread(data: bytes, places: Sequence[memoryview]) -> None:
    """Write ``data`` over the places in their order."""
    start = 0
    for place in places:
        place[:] = data[start : start + len(place)]
        start += len(place)
