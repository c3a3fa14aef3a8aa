"""Parts that are uploaded while their bytes are read from the storage, without a buffer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial

from common.errors import NetworkError
from common.object_storage import BLOCK_SIZE
from common.object_storage.http_response import Response
from worker.archive.composing.reading import reading_file
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import ByteSpan, PlannedPart, SpanKind
from worker.archive.zip_format.crc32 import crc32, join

#: The files of such a part are read one after the other. Shorter ones are read side by side into a
#: buffer instead.
MIN_SPAN_SIZE = 512 * 1024


def can_upload_unbuffered(state: BuildState, planned_part: PlannedPart) -> bool:
    """Return whether a part can be uploaded while it is read.

    That needs the checksums in its headers before the files are read, so the source lists them.
    """
    return (
        state.deps.storage.profile.can_stream_parts
        and not state.is_single_put
        and all(_can_upload_span(state, span) for span in planned_part.spans)
    )


def _can_upload_span(state: BuildState, span: ByteSpan) -> bool:
    members = state.archive_plan.members
    if span.kind is SpanKind.HEADER:
        return state.checksums.for_header(span.item) is not None
    if span.kind is SpanKind.DIRECTORY or span.item >= len(members):
        return False
    return (
        members[span.item].file.location is not None
        and span.length >= MIN_SPAN_SIZE
        and state.position_in_previous(span) is None
    )


class UnbufferedPart:
    """The bytes of one part on their way through the worker."""

    def __init__(self, state: BuildState, planned_part: PlannedPart) -> None:
        self._state = state
        self._planned_part = planned_part
        #: The checksums of the spans that were read in this attempt.
        self._crc32s: list[int] = []
        self._read = self._reported = 0

    def upload(self) -> None:
        """Read and upload the part, and verify the checksums of its files."""
        state, planned_part = self._state, self._planned_part
        archive_plan = state.archive_plan
        part = state.deps.storage.upload_part_stream(
            archive_plan.bucket, archive_plan.key, state.upload_id, planned_part.number, self,
            cancellation=state.cancellation,
        )  # fmt: skip
        for span, value in zip(planned_part.spans, self._crc32s, strict=True):
            if span.kind is SpanKind.DATA:
                state.checksums.add(span, value)
        state.add_part(planned_part, part)
        state.count(through_worker=planned_part.size)

    def __len__(self) -> int:
        return self._planned_part.size

    @property
    def crc32(self) -> int:
        """Return the checksum of the whole part."""
        return join(zip(self._crc32s, (s.length for s in self._planned_part.spans), strict=True))

    def __iter__(self) -> Generator[memoryview]:
        """Yield the bytes of the part, and compute the checksums of its spans."""
        self._crc32s, self._read = [], 0
        block, filled = memoryview(bytearray(BLOCK_SIZE)), 0
        for span in self._planned_part.spans:
            left, value = span.length, 0
            with self._open(span) as fill:
                while left:
                    view = block[filled : filled + left]
                    fill(view)
                    value = crc32(view, value)
                    left, filled = left - len(view), filled + len(view)
                    if filled == BLOCK_SIZE:
                        yield block
                        filled = 0
            self._crc32s.append(value)
        if filled:
            yield block[:filled]

    @contextmanager
    def _open(self, span: ByteSpan) -> Iterator[Callable[[memoryview], None]]:
        """Yield a function that fills a view with the next bytes of a span."""
        state = self._state
        if span.kind is SpanKind.HEADER:
            header = state.plan.header(span.item, state.checksums.for_header(span.item) or 0)
            yield _filling(memoryview(header)[span.start : span.start + span.length])
            return
        file = state.archive_plan.members[span.item].file
        assert file.location is not None  # noqa: S101  only such spans are unbuffered
        bucket, key = file.location
        with (
            reading_file(file.file_id),
            state.deps.storage.get_object(
                bucket, key, start=span.start, end=span.start + span.length,
                if_match=file.etag, cancellation=state.cancellation,
            ) as response,
        ):  # fmt: skip
            yield partial(self._fill, response)

    def _fill(self, response: Response, view: memoryview) -> None:
        # Measured without the time for which the storage does not accept more bytes.
        with self._state.deps.min_rate.reading() as count_bytes:
            while view:
                count = response.readinto(view)
                if count == 0:
                    raise NetworkError("The storage sent fewer bytes than the object has")
                count_bytes(count)
                self._advance(count)
                view = view[count:]

    def _advance(self, count: int) -> None:
        """Report progress; bytes that are read again do not count."""
        self._read += count
        if self._read > self._reported:
            self._state.deps.control.advance(self._read - self._reported)
            self._reported = self._read


def _filling(content: memoryview) -> Callable[[memoryview], None]:
    def fill(view: memoryview) -> None:
        nonlocal content
        view[:], content = content[: len(view)], content[len(view) :]

    return fill
