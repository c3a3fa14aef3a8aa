"""An archive whose bytes all pass the worker: for sources of unknown size or without ranges.

The parts of the upload may be sent in any order. So only the part with the header of the file
that is being read is held back until the file's size and checksum are known, and no member needs
a data descriptor. Memory: the part held back, the one being filled, and those on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from common.errors import FileTooLarge
from common.storage import BadChecksum, Stop
from worker.archive import zipformat
from worker.archive.crc import crc32
from worker.archive.manifest import render
from worker.archive.members import MANIFEST_NAME, Member
from worker.archive.pace import Pace
from worker.sources import Missing, Source

MIB = 1024 * 1024
#: A header and its name: what a part may be longer than planned, so that no header is cut in two.
SLACK = 1024


#: An upload has no more.
MAX_PARTS = 10_000


def part_size(number: int) -> int:
    """Small archives cost little, 10,000 parts hold 290 GiB, and four of them fit into memory."""
    return 8 * MIB if number <= 1000 else 32 * MIB


@dataclass
class StreamedPart:
    """A part of the upload and the files that are complete once it and all before it are sent."""

    number: int
    buffer: bytearray
    filled: int = 0

    @property
    def content(self) -> memoryview:
        return memoryview(self.buffer)[: self.filled]

    @property
    def free(self) -> int:
        return max(0, part_size(self.number) - self.filled)


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
    pace: Pace
    stop: Stop
    progress: Callable[[int], None]
    finished: Callable[[Member, int], None]
    stored: list[Stored] = field(default_factory=list)
    _offset: int = 0
    _part: StreamedPart = field(init=False)
    _held: StreamedPart | None = None

    def parts(self) -> Iterator[StreamedPart]:
        """The parts, each once, in the order in which they are ready."""
        self._part = _empty(1)
        for member in self.members:
            yield from self._member(member)
        if self.missing is not None:
            yield from self._manifest(self.missing)
        start = self._offset
        for entry in self.stored:
            yield from self._write(
                zipformat.central_entry(
                    entry.raw_name,
                    size=entry.size, crc32=entry.crc32, time=entry.time, offset=entry.offset,
                )
            )  # fmt: skip
        size = self._offset - start
        yield from self._write(
            zipformat.end_records(count=len(self.stored), size=size, offset=start)
        )
        yield self._part

    def _member(self, member: Member) -> Iterator[StreamedPart]:
        entry = member.entry
        stored = Stored(member.raw_name, member.time, self._offset)
        zip64 = entry.size is None or zipformat.needs_zip64(entry.size)
        header_at = self._part.filled
        first = self._part
        self._append(_header(stored, zip64))
        with (
            self.pace.reading() as advance,
            self.source.open(entry, stop=self.stop, progress=advance) as fill,
        ):
            while True:
                if self._part.free == 0:
                    yield from self._next_part(first)
                view = memoryview(self._part.buffer)[self._part.filled :][: self._part.free]
                count = fill(view)
                stored.crc32 = crc32(view[:count], stored.crc32)
                stored.size += count
                self._part.filled += count
                self._offset += count
                self._within_limit()
                self.progress(count)
                if count < len(view):
                    break
        if entry.crc32 is not None and entry.crc32 != stored.crc32:
            raise BadChecksum(f"File {entry.file_id} is not what its stored checksum says")
        header = _header(stored, zip64)
        first.buffer[header_at : header_at + len(header)] = header
        self.stored.append(stored)
        if self._held is not None:
            yield self._held
            self._held = None
        self.finished(member, stored.size)

    def _manifest(self, missing: Sequence[Missing]) -> Iterator[StreamedPart]:
        document = render(
            [(m, s.size) for m, s in zip(self.members, self.stored, strict=True)],
            missing,
            [s.crc32 for s in self.stored],
        )
        stored = Stored(
            MANIFEST_NAME.encode(),
            max((member.time for member in self.members), default=zipformat.EARLIEST),
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
            if self._part.free == 0:
                yield from self._next_part(None)
            piece = rest[: self._part.free]
            self._append(piece)
            rest = rest[len(piece) :]

    def _append(self, data: bytes | memoryview) -> None:
        part = self._part
        part.buffer[part.filled : part.filled + len(data)] = data
        part.filled += len(data)
        self._offset += len(data)

    def _next_part(self, first: StreamedPart | None) -> Iterator[StreamedPart]:
        full = self._part
        if full.number == MAX_PARTS:
            raise FileTooLarge("Files of unknown size are too large together for one archive")
        self._part = _empty(full.number + 1)
        if full is first:
            self._held = full
        else:
            yield full

    def _within_limit(self) -> None:
        if self.max_bytes is not None and self._offset > self.max_bytes + SLACK * len(self.members):
            raise FileTooLarge(f"The files have more than {self.max_bytes} bytes")


def _header(stored: Stored, zip64: bool) -> bytes:
    return zipformat.local_header(
        stored.raw_name, size=stored.size, crc32=stored.crc32, time=stored.time, zip64=zip64
    )


def _empty(number: int) -> StreamedPart:
    return StreamedPart(number, bytearray(part_size(number) + SLACK))
