"""Writes the parts that consist of headers, small files, the manifest and the directory.

They are written from the end of the archive to its beginning. A header contains the checksum of the
file behind it, which may reach into later parts; in this order those have been read before.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import FileNotFound
from common.object_storage import NoSuchKey, UploadedPart
from worker.archive.composing.previous_archive import reading_previous
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import PartPlan, Span, SpanKind
from worker.archive.zip_format import records
from worker.archive.zip_format.crc32 import crc32

#: Returns the offset of a header or file in the previous archive, or None.
Position = Callable[[Span], int | None]


@dataclass(frozen=True, slots=True)
class BufferedSpan:
    """A span and its offset in the buffer of its part."""

    span: Span
    offset: int


@dataclass(frozen=True, slots=True)
class Read:
    """One read request for adjacent spans of a part.

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

    def __init__(self, part_plan: PartPlan, *, file_count: int, position: Position) -> None:
        """``file_count`` is the number of items that are files; the manifest follows them."""
        self.part_plan = part_plan
        self.spans: list[BufferedSpan] = []
        size = 0
        for span in part_plan.spans:
            self.spans.append(BufferedSpan(span, size))
            size += span.length
        # Anonymous pages are returned to the system at once; the heap would keep and fragment them.
        self.memory = memoryview(mmap.mmap(-1, size))
        #: The items whose headers the part contains.
        self.headers = [s.item for s in part_plan.spans if s.kind is SpanKind.HEADER]
        #: The reads that fill the buffer, and the number of those that have not ended.
        self.reads = [
            Read(self, tuple(spans), previous_offset)
            for previous_offset, spans in self._runs(file_count, position)
            if any(buffered.span.kind is SpanKind.DATA for buffered in spans)
        ]
        self.reads_left = len(self.reads)

    def view(self, buffered: BufferedSpan) -> memoryview:
        """Return the memory of one span."""
        return self.memory[buffered.offset : buffered.offset + buffered.span.length]

    def _runs(
        self, file_count: int, position: Position
    ) -> list[tuple[int | None, list[BufferedSpan]]]:
        """Group spans that are adjacent in the previous archive; other files stay separate."""
        runs: list[tuple[int | None, list[BufferedSpan]]] = []
        end: int | None = None
        for buffered in self.spans:
            span = buffered.span
            start = position(span)
            if start is not None and start == end:
                runs[-1][1].append(buffered)
            elif start is not None or (span.kind is SpanKind.DATA and span.item < file_count):
                runs.append((start, [buffered]))
            end = None if start is None else start + span.length
        return runs


class Writer:
    """Fills and uploads the buffers of one build. Thread safe except for ``is_complete``."""

    def __init__(self, state: BuildState) -> None:
        self._state = state
        self._file_count = len(state.archive_plan.members)

    def needs_all_checksums(self, part_plan: PartPlan) -> bool:
        """Return whether a part has the directory or the manifest, which list all checksums."""
        return any(
            span.kind is SpanKind.DIRECTORY or span.item >= self._file_count
            for span in part_plan.spans
        )

    def buffer(self, part_plan: PartPlan) -> PartBuffer:
        """Return an empty buffer for a part."""
        return PartBuffer(part_plan, file_count=self._file_count, position=self._position)

    def is_complete(self, buffer: PartBuffer) -> bool:
        """Return whether a filled buffer can be uploaded: its headers' checksums are known."""
        if self.needs_all_checksums(buffer.part_plan):
            return self._state.has_all_file_checksums
        headers = buffer.headers
        while headers and self._state.checksums.for_header(headers[-1]) is not None:
            headers.pop()
        return not headers

    def read(self, read: Read) -> None:
        """Run one read."""
        if read.previous_offset is None:
            self._read_from_source(read.spans[0].span, read.view)
        else:
            self._read_from_previous(read.previous_offset, read)
        for buffered in read.spans:
            if buffered.span.kind is SpanKind.DATA:
                self._state.checksums.add(buffered.span, crc32(read.buffer.view(buffered)))

    def upload(self, buffer: PartBuffer) -> None:
        """Write headers, manifest and directory into a complete buffer and upload the part."""
        state, part_plan = self._state, buffer.part_plan
        manifest = state.manifest if self.needs_all_checksums(part_plan) else b""
        for buffered in buffer.spans:
            span, view = buffered.span, buffer.view(buffered)
            if span.kind is SpanKind.HEADER:
                header = state.plan.header(span.item, state.checksums.for_header(span.item) or 0)
                view[:] = header[span.start : span.start + span.length]
            elif span.kind is SpanKind.DIRECTORY:
                view[:] = state.directory[span.start : span.start + span.length]
            elif span.item >= self._file_count:
                view[:] = manifest[span.start : span.start + span.length]
        state.add_part(part_plan, self._upload(part_plan, buffer.memory))
        state.count(through_worker=len(buffer.memory))

    def _position(self, span: Span) -> int | None:
        state = self._state
        if state.previous is None:
            return None
        return state.previous.position(state.plan, state.archive_plan.members, span)

    def _upload(self, part_plan: PartPlan, content: memoryview) -> UploadedPart:
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
