"""Copies inside the storage: ranges of large files, and parts of the previous archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from common.object_storage import BadChecksum, UploadedPart
from worker.archive.composing.previous_archive import reading_previous
from worker.archive.composing.reading import reading_file
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import PartKind, PlannedPart, SpanKind
from worker.archive.zip_format.crc32 import combine, crc32


class Copier:
    """Runs the copies of one build: every COPY part, and what the previous archive has."""

    def __init__(self, state: BuildState) -> None:
        self._state = state
        self._archive_plan = state.archive_plan

    def copies(self) -> Iterator[tuple[PlannedPart, Callable[[], None]]]:
        """Yield each part that can be copied and is not in the storage yet, and its copy."""
        for planned_part in reversed(self._state.plan.parts):
            if planned_part.number in self._state.uploaded_parts:
                continue
            if planned_part.kind is PartKind.COPY:
                yield planned_part, partial(self._copy_from_file, planned_part)
            elif (start := self._state.range_in_previous(planned_part)) is not None:
                yield planned_part, partial(self._copy_from_previous, planned_part, start)

    def _copy_from_file(self, planned_part: PlannedPart) -> None:
        """Copy a range of a file as a part of the archive."""
        (span,), number = planned_part.spans, planned_part.number
        file = self._archive_plan.members[span.item].file
        assert file.location is not None  # noqa: S101  only such files are planned to be copied
        with reading_file(file.file_id):
            part = self._state.deps.storage.upload_part_copy(
                self._archive_plan.bucket, self._archive_plan.key, self._state.upload_id, number,
                source=file.location, start=span.start, length=span.length,
                if_match=file.etag, cancellation=self._state.cancellation,
            )  # fmt: skip
            value = part.crc32
            if value is None:
                value = self._read_crc32(file.location, file.etag, span.start, span.length)
        part = UploadedPart(number=number, etag=part.etag, crc32=value)
        self._state.checksums.add(span, value)
        self._state.add_part(planned_part, part)
        self._state.count(copied=span.length)
        self._state.deps.control.advance(span.length)

    def _copy_from_previous(self, planned_part: PlannedPart, start: int) -> None:
        """Copy a part that consists of headers and files from the previous archive."""
        state, previous = self._state, self._state.previous
        assert previous is not None  # noqa: S101  only then a part has a range in it
        with reading_previous():
            part = state.deps.storage.upload_part_copy(
                self._archive_plan.bucket, self._archive_plan.key, state.upload_id,
                planned_part.number,
                source=(previous.bucket, previous.key), start=start, length=planned_part.size,
                if_match=previous.etag, cancellation=state.cancellation,
            )  # fmt: skip
            copied = part.crc32
            if copied is None:
                location = previous.bucket, previous.key
                copied = self._read_crc32(location, previous.etag, start, planned_part.size)
        expected = 0
        for span in planned_part.spans:
            crc = previous.crc32(self._archive_plan.members[span.item]) or 0
            if span.kind is SpanKind.HEADER:
                expected = crc32(state.plan.header(span.item, crc), expected)
            else:
                state.checksums.add(span, crc)
                expected = combine(expected, crc, span.length)
        if copied != expected:
            raise BadChecksum("The previous archive does not match its index")
        state.add_part(
            planned_part, UploadedPart(number=planned_part.number, etag=part.etag, crc32=expected)
        )
        data = sum(span.length for span in planned_part.spans if span.kind is SpanKind.DATA)
        state.count(copied=planned_part.size, reused=data)
        state.deps.control.advance(data)

    def _read_crc32(
        self, location: tuple[str, str], etag: str | None, start: int, length: int
    ) -> int:
        """Return the checksum of a range, for storages that do not return it with a copy."""
        state, value = self._state, 0
        with state.deps.min_rate.reading() as count_bytes:

            def consume(block: memoryview) -> None:
                nonlocal value
                value = crc32(block, value)
                count_bytes(len(block))

            state.deps.storage.read_blocks(
                *location, consume,
                start=start, length=length, if_match=etag, cancellation=state.cancellation,
            )  # fmt: skip
        state.count(through_worker=length)
        return value
