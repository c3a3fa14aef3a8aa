"""The first wave: what the store copies by itself, from large files and from an older archive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from common.errors import FileNotFound
from common.object_storage import BadChecksum, NoSuchKey, NoSuchUpload, UploadedPart
from worker.archive.composing.previous_archive import PreviousArchive, still_there
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import Kind, Piece, PlannedPart, Span
from worker.archive.request import ZIP_TYPE
from worker.archive.zip_format.crc32 import combine, crc32

#: Copies that the store works at side by side.
WIDTH = 6
#: Bytes read at a time where the store gives no checksum for what it copied.
BLOCK = 4 * 1024 * 1024


def copy_parts(work: BuildState) -> None:
    """Send every COPY part, the first half of every LADDER, and what the previous archive has."""
    copier = _Copier(work)
    todo: list[Callable[[], None]] = []
    for part in work.plan.parts:
        if part.number in work.sent or part.number in work.journal.rungs:
            continue
        if part.copied:
            todo.append(partial(copier.send, part, part.copied))
        elif (start := work.range_in_previous(part)) is not None:
            todo.append(partial(copier.take_over, part, start))
    work.tools.task_group.each(lambda step: step(), todo, width=min(WIDTH, len(todo)))


class _Copier:
    def __init__(self, work: BuildState) -> None:
        self._work = work
        self._blueprint = work.blueprint

    def send(self, planned: PlannedPart, span: Span) -> None:
        """Copy a range of a file."""
        if planned.kind is Kind.COPY:
            part = self._copy(self._blueprint.key, self._work.upload_id, planned.number, span)
            self._work.part_sent(planned, part)
        else:
            key = self._blueprint.temporary(planned.number)
            upload_id = self._work.tools.store.create_multipart_upload(
                self._blueprint.bucket,
                key,
                content_type=ZIP_TYPE,
                cancellation=self._work.cancellation,
            )
            part = self._copy(key, upload_id, 1, span)
            self._work.journal.climbed(planned.number, upload_id, part)
        self._work.add(copied=span.length)
        self._work.tools.control.advance(span.length)

    def take_over(self, planned: PlannedPart, start: int) -> None:
        """Copy a part of nothing but headers and files as the previous archive has it."""
        work, previous = self._work, self._work.previous
        assert previous is not None  # noqa: S101  only then a part has a place in it
        with still_there():
            part = work.tools.store.upload_part_copy(
                self._blueprint.bucket, self._blueprint.key, work.upload_id, planned.number,
                source=(previous.bucket, previous.key), start=start, length=planned.size,
                if_match=previous.etag, cancellation=work.cancellation,
            )  # fmt: skip
        value = 0
        for span in planned.spans:
            crc = previous.crc32(self._blueprint.members[span.item]) or 0
            if span.piece is Piece.HEADER:
                value = crc32(work.plan.header(span.item, crc), value)
            else:
                work.ledger.learn(span, crc)
                value = combine(value, crc, span.length)
        copied = part.crc32
        if copied is None:
            copied = self._of_previous(previous, start, planned.size)
        if copied != value:
            raise BadChecksum("The previous archive is not what its index says")
        work.part_sent(planned, UploadedPart(number=planned.number, etag=part.etag, crc32=value))
        data = sum(span.length for span in planned.spans if span.piece is Piece.DATA)
        work.add(copied=planned.size, reused=data)
        work.tools.control.advance(data)

    def _copy(self, key: str, upload_id: str, number: int, span: Span) -> UploadedPart:
        entry = self._blueprint.members[span.item].entry
        assert entry.location is not None  # noqa: S101  only such files are planned to be copied
        try:
            part = self._work.tools.store.upload_part_copy(
                self._blueprint.bucket, key, upload_id, number,
                source=entry.location, start=span.start, length=span.length,
                if_match=entry.etag, cancellation=self._work.cancellation,
            )  # fmt: skip
        except NoSuchUpload:
            raise
        except NoSuchKey as error:
            raise FileNotFound(f"File {entry.file_id} does not exist any more") from error
        if part.crc32 is None:
            part = UploadedPart(number=number, etag=part.etag, crc32=self._of_file(span))
        self._work.ledger.learn(span, part.crc32 or 0)
        return part

    def _of_file(self, span: Span) -> int:
        entry, source = self._blueprint.members[span.item].entry, self._work.tools.source
        return self._by_reading(partial(source.read_into, entry), span.start, span.length)

    def _of_previous(self, previous: PreviousArchive, start: int, length: int) -> int:
        read = partial(
            self._work.tools.store.read_into,
            previous.bucket, previous.key, if_match=previous.etag,
        )  # fmt: skip
        return self._by_reading(read, start, length)

    def _by_reading(self, read: Callable[..., None], start: int, length: int) -> int:
        """The checksum of a range by reading it, for stores that do not tell."""
        block, value = memoryview(bytearray(min(BLOCK, length))), 0
        for at in range(start, start + length, BLOCK):
            view = block[: min(BLOCK, start + length - at)]
            with self._work.tools.pace.reading() as progress:
                read(view, start=at, cancellation=self._work.cancellation, progress=progress)
            value = crc32(view, value)
        self._work.add(through_worker=length)
        return value
