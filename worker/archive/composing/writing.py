"""Writes the parts that consist of headers, small files, the manifest and the directory.

They are written from the end of the archive to its beginning. A header contains the checksum of the
file behind it, which may reach into later parts; in this order those have been read before.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common.errors import FileNotFound
from common.object_storage import Cancellation, Cancelled, NoSuchKey, UploadedPart
from worker.archive.composing.copying import finish_ladder_part
from worker.archive.composing.previous_archive import reading_previous
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import PartKind, PartPlan, Span, SpanKind
from worker.archive.zip_format import records
from worker.archive.zip_format.crc32 import crc32

#: The number of concurrent reads.
CONCURRENCY = 64
#: The limit for the buffers of all parts that are being filled, in bytes.
MEMORY = 24 * 1024 * 1024

#: Returns the offset of a header or file in the previous archive, or None.
Position = Callable[[Span], int | None]


def write_parts(state: BuildState) -> None:
    """Write every part that is not in the storage yet; the checksums of all copies are known."""
    writer = _Writer(state)
    state.deps.task_group.each(writer.read, writer.reads(), concurrency=CONCURRENCY)


class MemoryBudget:
    """A limit for the memory of buffers. A larger request is granted when no other is active."""

    def __init__(self, size: int, cancellation: Cancellation) -> None:
        self._size = size
        self._cancellation = cancellation
        self._used = 0
        self._changed = threading.Condition()

    def acquire(self, size: int) -> None:
        """Wait until ``size`` bytes are free; raise Cancelled if the build has to stop."""
        with self._changed:
            while self._used and self._used + size > self._size:
                if self._cancellation.requested:
                    raise Cancelled
                self._changed.wait(0.1)
            self._used += size

    def release(self, size: int) -> None:
        """Return ``size`` bytes."""
        with self._changed:
            self._used -= size
            self._changed.notify()


@dataclass(frozen=True, slots=True)
class BufferedSpan:
    """A span and its offset in the buffer of its part."""

    span: Span
    offset: int


@dataclass(frozen=True, slots=True)
class Read:
    """One read request for adjacent spans of a part; without spans nothing is read.

    ``previous_offset`` is the offset in the previous archive, or None to read from the source.
    """

    buffer: PartBuffer
    spans: tuple[BufferedSpan, ...]
    previous_offset: int | None

    @property
    def view(self) -> memoryview:
        """Return the memory that the read fills."""
        first, last = self.spans[0], self.spans[-1]
        return self.buffer.memory[first.offset : last.offset + last.span.length]


class PartBuffer:
    """The spans of one part that the worker writes, and the memory for them."""

    def __init__(self, part_plan: PartPlan, *, file_count: int) -> None:
        """``file_count`` is the number of items that are files; the manifest follows them."""
        self.part_plan = part_plan
        self.spans: list[BufferedSpan] = []
        size = 0
        for span in part_plan.written:
            self.spans.append(BufferedSpan(span, size))
            size += span.length
        # Anonymous pages are returned to the system at once; the heap would keep and fragment them.
        self.memory = memoryview(mmap.mmap(-1, size))
        #: The part contains the directory or the manifest, which need the checksums of all files.
        self.needs_all_checksums = any(
            span.kind is SpanKind.DIRECTORY or span.item >= file_count for span in part_plan.written
        )
        self.reads_left = 0
        self._file_count = file_count

    def view(self, buffered: BufferedSpan) -> memoryview:
        """Return the memory of one span."""
        return self.memory[buffered.offset : buffered.offset + buffered.span.length]

    def reads(self, position: Position) -> Iterator[Read]:
        """Yield the reads that fill the buffer; an empty one if the part contains no file."""
        runs = [
            (previous_offset, spans)
            for previous_offset, spans in self._runs(position)
            if any(buffered.span.kind is SpanKind.DATA for buffered in spans)
        ] or [(None, [])]
        self.reads_left = len(runs)
        for previous_offset, spans in runs:
            yield Read(self, tuple(spans), previous_offset)

    def _runs(self, position: Position) -> list[tuple[int | None, list[BufferedSpan]]]:
        """Group spans that are adjacent in the previous archive; other files stay separate."""
        runs: list[tuple[int | None, list[BufferedSpan]]] = []
        end: int | None = None
        for buffered in self.spans:
            span = buffered.span
            start = position(span)
            if start is not None and start == end:
                runs[-1][1].append(buffered)
            elif start is not None or (span.kind is SpanKind.DATA and span.item < self._file_count):
                runs.append((start, [buffered]))
            end = None if start is None else start + span.length
        return runs


class _Writer:
    """Fills and uploads the written parts of one build."""

    def __init__(self, state: BuildState) -> None:
        self._state = state
        self._file_count = len(state.archive_plan.members)
        self._budget = MemoryBudget(MEMORY, state.cancellation)
        self._lock = threading.Lock()
        #: Filled buffers that wait for checksums.
        self._filled: list[PartBuffer] = []

    def reads(self) -> Iterator[Read]:
        """Yield the reads of all parts, last part first, while there is memory for buffers."""
        for part_plan in reversed(self._state.plan.parts):
            if part_plan.number in self._state.uploaded_parts or not part_plan.written:
                continue
            buffer = PartBuffer(part_plan, file_count=self._file_count)
            # The last parts wait for all others, so they must not use up the budget.
            if not buffer.needs_all_checksums:
                self._budget.acquire(len(buffer.memory))
            yield from buffer.reads(self._position)

    def read(self, read: Read) -> None:
        """Run one read; then upload every part that has become complete."""
        if read.spans:
            if read.previous_offset is None:
                self._read_from_source(read.spans[0].span, read.view)
            else:
                self._read_from_previous(read.previous_offset, read)
            for buffered in read.spans:
                if buffered.span.kind is SpanKind.DATA:
                    self._state.checksums.add(buffered.span, crc32(read.buffer.view(buffered)))
        with self._lock:
            read.buffer.reads_left -= 1
            if read.buffer.reads_left == 0:
                self._filled.append(read.buffer)
        while (buffer := self._next_complete()) is not None:
            self._finish(buffer)

    def _position(self, span: Span) -> int | None:
        state = self._state
        if state.previous is None:
            return None
        return state.previous.position(state.plan, state.archive_plan.members, span)

    def _next_complete(self) -> PartBuffer | None:
        with self._lock:
            for index, buffer in enumerate(self._filled):
                if self._is_complete(buffer):
                    return self._filled.pop(index)
        return None

    def _is_complete(self, buffer: PartBuffer) -> bool:
        if buffer.needs_all_checksums:
            return self._state.has_all_file_checksums
        return all(
            self._state.checksums.crc32(buffered.span.item) is not None
            for buffered in buffer.spans
            if buffered.span.kind is SpanKind.HEADER
        )

    def _finish(self, buffer: PartBuffer) -> None:
        """Write headers, manifest and directory into a buffer and upload the part."""
        state, part_plan = self._state, buffer.part_plan
        manifest = state.manifest if buffer.needs_all_checksums else b""
        for buffered in buffer.spans:
            span, view = buffered.span, buffer.view(buffered)
            if span.kind is SpanKind.HEADER:
                header = state.plan.header(span.item, state.checksums.crc32(span.item) or 0)
                view[:] = header[span.start : span.start + span.length]
            elif span.kind is SpanKind.DIRECTORY:
                view[:] = state.directory[span.start : span.start + span.length]
            elif span.item >= self._file_count:
                view[:] = manifest[span.start : span.start + span.length]
        state.add_part(part_plan, self._upload(part_plan, buffer.memory))
        state.count(through_worker=len(buffer.memory))
        if not buffer.needs_all_checksums:
            self._budget.release(len(buffer.memory))

    def _upload(self, part_plan: PartPlan, content: memoryview) -> UploadedPart:
        state, archive_plan = self._state, self._state.archive_plan
        storage, value = state.deps.storage, crc32(content)
        if part_plan.kind is PartKind.LADDER:
            return finish_ladder_part(state, part_plan, content, value)
        if state.is_single_put:
            etag = storage.put_object(
                archive_plan.bucket, archive_plan.key, content,
                content_type=records.CONTENT_TYPE, metadata=archive_plan.metadata, crc32=value,
                cancellation=state.cancellation,
            )  # fmt: skip
            return UploadedPart(number=1, etag=etag, crc32=value)
        return storage.upload_part(
            archive_plan.bucket, archive_plan.key, state.upload_id, part_plan.number, content,
            crc32=value, cancellation=state.cancellation,
        )  # fmt: skip

    def _read_from_source(self, span: Span, view: memoryview) -> None:
        deps, file = self._state.deps, self._state.archive_plan.members[span.item].file
        with deps.min_rate.reading() as count:

            def progress(size: int) -> None:
                count(size)
                deps.control.advance(size)

            try:
                deps.source.read_into(
                    file, view,
                    start=span.start, cancellation=self._state.cancellation, progress=progress,
                )  # fmt: skip
            except NoSuchKey as error:
                raise FileNotFound(f"File {file.file_id} no longer exists") from error

    def _read_from_previous(self, start: int, read: Read) -> None:
        deps, previous = self._state.deps, self._state.previous
        assert previous is not None  # noqa: S101  only then a read has an offset in it
        with deps.min_rate.reading() as progress, reading_previous():
            deps.storage.read_into(
                previous.bucket, previous.key, read.view,
                start=start, if_match=previous.etag,
                cancellation=self._state.cancellation, progress=progress,
            )  # fmt: skip
        data = sum(b.span.length for b in read.spans if b.span.kind is SpanKind.DATA)
        deps.control.advance(data)
        self._state.count(reused=data)
