"""Copies inside the storage: ranges of large files, and parts of the previous archive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from common.errors import FileNotFound, StorageError
from common.object_storage import BadChecksum, NoSuchKey, NoSuchUpload, UploadedPart
from worker.archive.composing.previous_archive import PreviousArchive, reading_previous
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import PartKind, PartPlan, Span, SpanKind
from worker.archive.zip_format import records
from worker.archive.zip_format.crc32 import combine, crc32

#: The number of concurrent copies.
CONCURRENCY = 6
#: The size of reads for the checksum of a copy, if the storage does not return one.
BLOCK_SIZE = 4 * 1024 * 1024


def copy_parts(state: BuildState) -> None:
    """Copy every COPY part, the first part of every LADDER, and what the previous archive has.

    This is the first phase of a build. The parts that the worker writes need the checksums of all
    copies.
    """
    copier = _Copier(state)
    steps: list[Callable[[], None]] = []
    for part_plan in state.plan.parts:
        number = part_plan.number
        if number in state.uploaded_parts or number in state.upload_log.ladder_parts:
            continue
        if part_plan.copied:
            steps.append(partial(copier.copy_from_file, part_plan, part_plan.copied))
        elif (start := state.range_in_previous(part_plan)) is not None:
            steps.append(partial(copier.copy_from_previous, part_plan, start))
    state.deps.task_group.each(lambda step: step(), steps, concurrency=min(CONCURRENCY, len(steps)))


def finish_ladder_part(
    state: BuildState, part_plan: PartPlan, content: memoryview, content_crc32: int
) -> UploadedPart:
    """Complete the temporary object with ``content`` and copy it as one part of the archive."""
    storage, bucket, cancellation = (
        state.deps.storage, state.archive_plan.bucket, state.cancellation,
    )  # fmt: skip
    key = state.archive_plan.temporary_key(part_plan.number)
    ladder = state.upload_log.ladder_parts[part_plan.number]
    whole_crc32 = combine(ladder.part.crc32 or 0, content_crc32, len(content))
    try:
        last = storage.upload_part(
            bucket, key, ladder.upload_id, 2, content,
            crc32=content_crc32, cancellation=cancellation,
        )  # fmt: skip
        etag = storage.complete_multipart_upload(
            bucket, key, ladder.upload_id, [ladder.part, last],
            crc32=whole_crc32, size=part_plan.size, cancellation=cancellation,
        )  # fmt: skip
    except NoSuchUpload:
        etag = _completed_earlier(state, part_plan, key, whole_crc32)
    try:
        part = storage.upload_part_copy(
            bucket, state.archive_plan.key, state.upload_id, part_plan.number,
            source=(bucket, key), start=0, length=part_plan.size, if_match=etag,
            cancellation=cancellation,
        )  # fmt: skip
    except NoSuchUpload:
        raise
    except NoSuchKey as error:
        raise StorageError("The storage lost a temporary object") from error
    if part.crc32 not in (None, whole_crc32):
        raise BadChecksum("A copy inside the storage changed the bytes")
    return UploadedPart(number=part_plan.number, etag=part.etag, crc32=whole_crc32)


def _completed_earlier(state: BuildState, part_plan: PartPlan, key: str, crc32: int) -> str:
    """Return the ETag of the temporary object if an earlier attempt completed it and crashed."""
    try:
        info = state.deps.storage.head_object(
            state.archive_plan.bucket, key, cancellation=state.cancellation
        )
    except NoSuchKey:
        raise NoSuchUpload("A temporary upload is gone") from None
    if info.size != part_plan.size or info.crc32 not in (None, crc32):
        raise NoSuchUpload("A temporary upload is gone")
    return info.etag


class _Copier:
    """Runs the copies of one build."""

    def __init__(self, state: BuildState) -> None:
        self._state = state
        self._archive_plan = state.archive_plan

    def copy_from_file(self, part_plan: PartPlan, span: Span) -> None:
        """Copy a range of a file as a part of the archive or of a temporary object."""
        if part_plan.kind is PartKind.COPY:
            part = self._copy(self._archive_plan.key, self._state.upload_id, part_plan.number, span)
            self._state.add_part(part_plan, part)
        else:
            key = self._archive_plan.temporary_key(part_plan.number)
            upload_id = self._state.deps.storage.create_multipart_upload(
                self._archive_plan.bucket, key,
                content_type=records.CONTENT_TYPE, temporary=True,
                cancellation=self._state.cancellation,
            )  # fmt: skip
            part = self._copy(key, upload_id, 1, span)
            self._state.upload_log.add_ladder_part(part_plan.number, upload_id, part)
        self._state.count(copied=span.length)
        self._state.deps.control.advance(span.length)

    def copy_from_previous(self, part_plan: PartPlan, start: int) -> None:
        """Copy a part that consists of headers and files from the previous archive."""
        state, previous = self._state, self._state.previous
        assert previous is not None  # noqa: S101  only then a part has a range in it
        with reading_previous():
            part = state.deps.storage.upload_part_copy(
                self._archive_plan.bucket, self._archive_plan.key, state.upload_id,
                part_plan.number,
                source=(previous.bucket, previous.key), start=start, length=part_plan.size,
                if_match=previous.etag, cancellation=state.cancellation,
            )  # fmt: skip
        expected = 0
        for span in part_plan.spans:
            crc = previous.crc32(self._archive_plan.members[span.item]) or 0
            if span.kind is SpanKind.HEADER:
                expected = crc32(state.plan.header(span.item, crc), expected)
            else:
                state.checksums.add(span, crc)
                expected = combine(expected, crc, span.length)
        copied = part.crc32
        if copied is None:
            copied = self._read_crc32_of_previous(previous, start, part_plan.size)
        if copied != expected:
            raise BadChecksum("The previous archive does not match its index")
        state.add_part(
            part_plan, UploadedPart(number=part_plan.number, etag=part.etag, crc32=expected)
        )
        data = sum(span.length for span in part_plan.spans if span.kind is SpanKind.DATA)
        state.count(copied=part_plan.size, reused=data)
        state.deps.control.advance(data)

    def _copy(self, key: str, upload_id: str, number: int, span: Span) -> UploadedPart:
        file = self._archive_plan.members[span.item].file
        assert file.location is not None  # noqa: S101  only such files are planned to be copied
        try:
            part = self._state.deps.storage.upload_part_copy(
                self._archive_plan.bucket, key, upload_id, number,
                source=file.location, start=span.start, length=span.length,
                if_match=file.etag, cancellation=self._state.cancellation,
            )  # fmt: skip
        except NoSuchUpload:
            raise
        except NoSuchKey as error:
            raise FileNotFound(f"File {file.file_id} no longer exists") from error
        if part.crc32 is None:
            part = UploadedPart(number=number, etag=part.etag, crc32=self._read_crc32(span))
        self._state.checksums.add(span, part.crc32 or 0)
        return part

    def _read_crc32(self, span: Span) -> int:
        file, source = self._archive_plan.members[span.item].file, self._state.deps.source
        return self._crc32_by_reading(partial(source.read_into, file), span.start, span.length)

    def _read_crc32_of_previous(self, previous: PreviousArchive, start: int, length: int) -> int:
        read = partial(
            self._state.deps.storage.read_into,
            previous.bucket, previous.key, if_match=previous.etag,
        )  # fmt: skip
        return self._crc32_by_reading(read, start, length)

    def _crc32_by_reading(self, read: Callable[..., None], start: int, length: int) -> int:
        """Return the checksum of a range, for storages that do not return it with a copy."""
        block, value = memoryview(bytearray(min(BLOCK_SIZE, length))), 0
        for offset in range(start, start + length, BLOCK_SIZE):
            view = block[: min(BLOCK_SIZE, start + length - offset)]
            with self._state.deps.min_rate.reading() as progress:
                read(view, start=offset, cancellation=self._state.cancellation, progress=progress)
            value = crc32(view, value)
        self._state.count(through_worker=length)
        return value
