"""Writes the parts that consist of headers, small files, the manifest and the directory.

They are written from the end of the archive to its beginning. A header contains the checksum of the
file behind it, which may reach into later parts; in this order those have been read before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from common.object_storage import UploadedPart
from worker.archive.composing.previous_archive import reading_previous
from worker.archive.composing.reading import reading_file
from worker.archive.composing.state import BuildState
from worker.archive.part_memory import part_memory
from worker.archive.planning.layout import ByteSpan, PlannedPart, SpanKind
from worker.archive.zip_format import records
from worker.archive.zip_format.crc32 import crc32

#: A longer range of a file is read by several requests side by side. Buffers are the scarce
#: resource where a request takes long, and this fills them in less time.
MAX_READ_SIZE = 6 * 1024 * 1024
#: Bytes. The size of memory is rounded up to this, so that a slightly larger part can reuse it.
MEMORY_UNIT = 256 * 1024

#: Returns the offset of a header or file in the previous archive, or None.
FindInPreviousArchive = Callable[[ByteSpan], int | None]


@dataclass(frozen=True, slots=True)
class Read:
    """One read request that fills ``length`` bytes of a buffer from ``offset`` on."""

    buffer: PartBuffer
    offset: int
    length: int
    #: The index of the file to read, or None to read from the previous archive.
    item: int | None
    #: The offset in the file or in the previous archive.
    start: int
    #: The number of bytes that belong to files; the others are headers.
    file_bytes: int

    @property
    def view(self) -> memoryview:
        """Return the memory that the read fills."""
        return self.buffer.memory[self.offset : self.offset + self.length]


class PartBuffer:
    """The memory for one part that the worker writes."""

    def __init__(self, planned_part: PlannedPart, memory: memoryview, *, file_count: int) -> None:
        """``file_count`` is the number of items that are files; the manifest follows them."""
        self.planned_part = planned_part
        #: The part has the directory or the manifest, which list the checksums of all files.
        self.needs_all_checksums = any(
            span.kind is SpanKind.DIRECTORY or span.item >= file_count
            for span in planned_part.spans
        )
        #: May be longer than the part.
        self.whole_memory = memory
        self.memory = memory[: planned_part.size]
        #: The items of headers whose checksums were not known yet.
        self.headers = [s.item for s in planned_part.spans if s.kind is SpanKind.HEADER]
        #: The number of reads that have not ended.
        self.reads_left = 0
        self._file_count = file_count

    def spans(self) -> Iterator[tuple[ByteSpan, memoryview]]:
        """Yield each span of the part and its memory."""
        offset = 0
        for span in self.planned_part.spans:
            yield span, self.memory[offset : offset + span.length]
            offset += span.length

    def begin(self, find_in_previous: FindInPreviousArchive) -> list[Read]:
        """Return the reads that fill the buffer.

        Spans that are adjacent in the previous archive take one read, a file at least one.
        """
        reads: list[Read] = []
        offset = 0
        for span in self.planned_part.spans:
            is_file = span.kind is SpanKind.DATA and span.item < self._file_count
            file_bytes = span.length if is_file else 0
            if (start := find_in_previous(span)) is not None:
                read = Read(self, offset, span.length, None, start, file_bytes)
                if reads and _is_adjacent(reads[-1], read):
                    last = reads.pop()
                    read = replace(
                        last,
                        length=last.length + span.length,
                        file_bytes=last.file_bytes + file_bytes,
                    )
                reads.append(read)
            elif is_file:
                reads.extend(self._reads_of_file(span, offset))
            offset += span.length
        reads = [read for read in reads if read.file_bytes]
        self.reads_left = len(reads)
        return reads

    def _reads_of_file(self, span: ByteSpan, offset: int) -> Iterator[Read]:
        count = -(-span.length // MAX_READ_SIZE)
        for i in range(count):
            start, end = span.length * i // count, span.length * (i + 1) // count
            length = end - start
            yield Read(self, offset + start, length, span.item, span.start + start, length)


def _is_adjacent(one: Read, other: Read) -> bool:
    """Return whether a read from the previous archive continues another one."""
    return (
        one.item is None
        and one.start + one.length == other.start
        and one.offset + one.length == other.offset
    )


class Writer:
    """Fills and uploads the buffers of one build. Thread safe except for ``is_complete``."""

    def __init__(self, state: BuildState) -> None:
        self._state = state
        self._file_count = len(state.archive_plan.members)
        #: Of uploaded parts. New memory costs more, because the system fills it with zeros.
        self._free_memory: list[memoryview] = []

    def begin(self, planned_part: PlannedPart) -> tuple[PartBuffer, list[Read]]:
        """Return an empty buffer for a part, and the reads that fill it."""
        memory = self._memory(planned_part.size)
        buffer = PartBuffer(planned_part, memory, file_count=self._file_count)
        return buffer, buffer.begin(self._state.position_in_previous)

    def _memory(self, size: int) -> memoryview:
        while self._free_memory:
            memory = self._free_memory.pop()
            if len(memory) >= size:
                return memory
        return part_memory(-(-size // MEMORY_UNIT) * MEMORY_UNIT)

    def reuse(self, buffer: PartBuffer) -> None:
        """Keep the memory of an uploaded buffer for the next one."""
        self._free_memory.append(buffer.whole_memory)

    def read(self, read: Read) -> None:
        """Run one read."""
        if read.item is None:
            self._read_from_previous(read)
        else:
            self._read_from_source(read, read.item)

    def add_checksums(self, buffer: PartBuffer) -> None:
        """Compute the checksums of the files in a filled buffer."""
        for span, view in buffer.spans():
            if span.kind is SpanKind.DATA and span.item < self._file_count:
                self._state.checksums.add(span, crc32(view))

    def is_complete(self, buffer: PartBuffer) -> bool:
        """Return whether a filled buffer can be uploaded: its headers' checksums are known."""
        if buffer.needs_all_checksums:
            return self._state.has_all_file_checksums
        headers = buffer.headers
        while headers and self._state.checksums.for_header(headers[-1]) is not None:
            headers.pop()
        return not headers

    def upload(self, buffer: PartBuffer) -> None:
        """Write headers, manifest and directory into a complete buffer and upload the part."""
        state, planned_part = self._state, buffer.planned_part
        manifest = state.manifest if buffer.needs_all_checksums else b""
        for span, view in buffer.spans():
            if span.kind is SpanKind.HEADER:
                header = state.plan.header(span.item, state.checksums.for_header(span.item) or 0)
                view[:] = header[span.start : span.start + span.length]
            elif span.kind is SpanKind.DIRECTORY:
                view[:] = state.directory[span.start : span.start + span.length]
            elif span.item >= self._file_count:
                view[:] = manifest[span.start : span.start + span.length]
        state.add_part(planned_part, self._upload(planned_part, buffer.memory))
        state.count(through_worker=len(buffer.memory))

    def _upload(self, planned_part: PlannedPart, content: memoryview) -> UploadedPart:
        state, archive_plan = self._state, self._state.archive_plan
        storage, value = state.deps.storage, crc32(content)
        if state.is_single_put:
            etag = storage.put_object(
                archive_plan.bucket, archive_plan.key, content,
                content_type=records.CONTENT_TYPE, metadata=archive_plan.metadata, crc32=value,
                cancellation=state.cancellation,
            )  # fmt: skip
            return UploadedPart(number=1, etag=etag, crc32=value)
        return storage.upload_part(
            archive_plan.bucket, archive_plan.key, state.upload_id, planned_part.number, content,
            crc32=value, cancellation=state.cancellation,
        )  # fmt: skip

    def _read_from_source(self, read: Read, item: int) -> None:
        deps, file = self._state.deps, self._state.archive_plan.members[item].file
        with deps.min_rate.reading() as count:

            def progress(size: int) -> None:
                count(size)
                deps.control.advance(size)

            with reading_file(file.file_id):
                deps.source.read_into(
                    file, read.view,
                    start=read.start, cancellation=self._state.cancellation, progress=progress,
                )  # fmt: skip

    def _read_from_previous(self, read: Read) -> None:
        deps, previous = self._state.deps, self._state.previous
        assert previous is not None  # noqa: S101  only then a read has an offset in it
        with deps.min_rate.reading() as progress, reading_previous():
            deps.storage.read_into(
                previous.bucket, previous.key, read.view,
                start=read.start, if_match=previous.etag,
                cancellation=self._state.cancellation, progress=progress,
            )  # fmt: skip
        deps.control.advance(read.file_bytes)
        self._state.count(reused=read.file_bytes)
