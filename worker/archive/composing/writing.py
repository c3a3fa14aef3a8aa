"""The second wave: parts that the worker puts together from headers, small files and the directory.

They are made from the archive's end towards its beginning. A header names the checksum of the file
behind it, which may reach into later parts; in this order those have been read before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from common.errors import FileNotFound
from common.object_storage import NoSuchKey, UploadedPart
from worker.archive.composing.assembly import Assembly, Read
from worker.archive.composing.ladder import climb
from worker.archive.composing.memory_budget import MemoryBudget
from worker.archive.composing.previous_archive import still_there
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import Kind, Piece, PlannedPart, Span
from worker.archive.request import ZIP_TYPE
from worker.archive.zip_format.crc32 import crc32

#: Reads that wait for their answers at the same time.
WIDTH = 64
#: Bytes of parts in the making.
MEMORY = 24 * 1024 * 1024


def write_parts(work: BuildState) -> None:
    """Send every part that is not in the store yet; all checksums of copies are known."""
    writer = _Writer(work)
    work.tools.task_group.each(writer.read, writer.reads(), width=WIDTH)


class _Writer:
    def __init__(self, work: BuildState) -> None:
        self._work = work
        self._files = len(work.blueprint.members)
        self._budget = MemoryBudget(MEMORY, work.cancellation)
        self._lock = threading.Lock()
        self._waiting: list[Assembly] = []

    def reads(self) -> Iterator[Read]:
        for planned in reversed(self._work.plan.parts):
            if planned.number in self._work.sent or not planned.written:
                continue
            assembly = Assembly(planned, files=self._files)
            # What closes the archive waits for all the rest, so it must not stand in its way.
            if not assembly.closing:
                self._budget.take(len(assembly.buffer))
            yield from assembly.reads(self._position)

    def read(self, read: Read) -> None:
        """Fill the slots of one read; then send every part that has become complete."""
        if read.slots:
            if read.previous is None:
                self._from_source(read.slots[0].span, read.view)
            else:
                self._from_previous(read.previous, read)
            for slot in read.slots:
                if slot.span.piece is Piece.DATA:
                    self._work.ledger.learn(slot.span, crc32(read.assembly.view(slot)))
        with self._lock:
            read.assembly.reads_left -= 1
            if read.assembly.reads_left == 0:
                self._waiting.append(read.assembly)
        while (assembly := self._next_complete()) is not None:
            self._finish(assembly)

    def _position(self, span: Span) -> int | None:
        work = self._work
        if work.previous is None:
            return None
        return work.previous.position(work.plan, work.blueprint.members, span)

    def _next_complete(self) -> Assembly | None:
        with self._lock:
            for index, assembly in enumerate(self._waiting):
                if self._complete(assembly):
                    return self._waiting.pop(index)
        return None

    def _complete(self, assembly: Assembly) -> bool:
        if assembly.closing:
            return self._work.files_known
        return all(
            self._work.ledger.crc32(slot.span.item) is not None
            for slot in assembly.slots
            if slot.span.piece is Piece.HEADER
        )

    def _finish(self, assembly: Assembly) -> None:
        work, planned = self._work, assembly.planned
        manifest = work.manifest if assembly.closing else b""
        for slot in assembly.slots:
            span, view = slot.span, assembly.view(slot)
            if span.piece is Piece.HEADER:
                header = work.plan.header(span.item, work.ledger.crc32(span.item) or 0)
                view[:] = header[span.start : span.start + span.length]
            elif span.piece is Piece.TAIL:
                view[:] = work.tail[span.start : span.start + span.length]
            elif span.item >= self._files:
                view[:] = manifest[span.start : span.start + span.length]
        part = self._send(planned, assembly.buffer)
        work.part_sent(planned, part)
        work.add(through_worker=len(assembly.buffer))
        if not assembly.closing:
            self._budget.give(len(assembly.buffer))

    def _send(self, planned: PlannedPart, content: memoryview) -> UploadedPart:
        work, blueprint, store = self._work, self._work.blueprint, self._work.tools.store
        value = crc32(content)
        if planned.kind is Kind.LADDER:
            return climb(work, planned, content, value)
        if work.is_one_object:
            etag = store.put_object(
                blueprint.bucket, blueprint.key, content, content_type=ZIP_TYPE,
                metadata=blueprint.metadata, crc32=value, cancellation=work.cancellation,
            )  # fmt: skip
            return UploadedPart(number=1, etag=etag, crc32=value)
        return store.upload_part(
            blueprint.bucket, blueprint.key, work.upload_id, planned.number, content,
            crc32=value, cancellation=work.cancellation,
        )  # fmt: skip

    def _from_source(self, span: Span, view: memoryview) -> None:
        tools, entry = self._work.tools, self._work.blueprint.members[span.item].entry
        with tools.pace.reading() as count:

            def progress(size: int) -> None:
                count(size)
                tools.control.advance(size)

            try:
                tools.source.read_into(
                    entry,
                    view,
                    start=span.start,
                    cancellation=self._work.cancellation,
                    progress=progress,
                )
            except NoSuchKey as error:
                raise FileNotFound(f"File {entry.file_id} does not exist any more") from error

    def _from_previous(self, start: int, read: Read) -> None:
        tools, previous = self._work.tools, self._work.previous
        assert previous is not None  # noqa: S101  only then a read has a place in it
        with tools.pace.reading() as progress, still_there():
            tools.store.read_into(
                previous.bucket, previous.key, read.view,
                start=start, if_match=previous.etag, cancellation=self._work.cancellation, progress=progress,
            )  # fmt: skip
        data = sum(s.span.length for s in read.slots if s.span.piece is Piece.DATA)
        tools.control.advance(data)
        self._work.add(reused=data)
