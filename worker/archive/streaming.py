"""Builds archives whose bytes all pass through the worker, as one multipart upload.

This is the fallback for sources without sizes, versions or ranges. The parts of an upload may be
sent in any order, so only the part with the header of the current file waits until the file's size
and checksum are known, and no member needs a data descriptor. Memory: the waiting part (two if a
header lies across their border), the part being filled, those being uploaded, and the small files
that are read ahead.

Another attempt cannot continue such an upload. Without a validator in its responses, a source may
send another version of a file, and the rest of that version behind the parts that exist would make
a corrupt file. So the attempt may take longer than ``JOB_DEADLINE`` while parts are uploaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from common.errors import DeadlineExceeded, DownloadError, FileTooLarge
from common.object_storage import (
    BadChecksum,
    Cancellation,
    NoSuchUpload,
    ObjectStorage,
    UploadedPart,
)
from common.sources import Missing, Source
from common.sources.files import name_file
from common.task_group import SupportsCheck, TaskGroup
from worker.archive.composing.compose import find_object
from worker.archive.composing.state import BuildDependencies, StoredArchive
from worker.archive.min_rate import MinRate
from worker.archive.part_memory import part_memory
from worker.archive.planning.manifest import render_manifest
from worker.archive.planning.members import MANIFEST_NAME, Member
from worker.archive.read_ahead import ReadAhead
from worker.archive.zip_format import records
from worker.archive.zip_format.crc32 import crc32, join

log = structlog.get_logger(__name__)

MIB = 1024 * 1024
#: The limit of S3 for one upload.
MAX_PARTS = 10_000
#: Bytes per member; more than its header takes with the longest path.
MEMBER_OVERHEAD = 2048
#: The number of threads: one reads and fills the next part while the others upload theirs.
CONCURRENCY = 3
TOO_LARGE_TOGETHER = "Together, the files are too large for one archive"


def part_size(number: int, *, equal_parts: bool) -> int:
    """Return the size of a part. Small archives need little memory; 10,000 parts hold 148 GiB."""
    return 16 * MIB if equal_parts or number > 1000 else 8 * MIB


def capacity(*, equal_parts: bool) -> int:
    """Return the size of the largest archive that can be streamed."""
    return sum(part_size(number, equal_parts=equal_parts) for number in range(1, MAX_PARTS + 1))


class ExtendingControl:
    """A control that extends the deadline each time if a part was uploaded since the last one."""

    def __init__(
        self, control: SupportsCheck, count_parts: Callable[[], int], extend: Callable[[], bool]
    ) -> None:
        """``extend`` returns whether the deadline may be extended, and does so."""
        self._control = control
        self._count_parts = count_parts
        self._extend = extend
        self._parts = 0

    def check(self) -> None:
        """Raise what the control raises, except a deadline that can be extended."""
        try:
            self._control.check()
        except DeadlineExceeded:
            parts = self._count_parts()
            if parts == self._parts or not self._extend():
                raise
            self._parts = parts


def stream_archive(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    *,
    bucket: str,
    key: str,
    max_bytes: int | None,
    equal_parts: bool,
    deps: BuildDependencies,
    may_continue: Callable[[], bool],
) -> StoredArchive:
    """Write the archive to ``key``. Unless it succeeds, the upload is aborted.

    ``may_continue`` returns whether the job may still be continued at a deadline.
    """
    control = deps.control
    uploaded: dict[int, tuple[UploadedPart, int]] = {}

    def extend_deadline() -> bool:
        if not may_continue():
            return False
        control.extend_deadline()
        return True

    task_group = TaskGroup(ExtendingControl(deps.min_rate, uploaded.__len__, extend_deadline))
    if sum(member.file.size or 0 for member in members) > capacity(equal_parts=equal_parts):
        raise FileTooLarge(TOO_LARGE_TOGETHER)
    streamer = ZipStreamer(
        source=deps.source,
        members=members,
        missing=missing,
        max_bytes=max_bytes,
        equal_parts=equal_parts,
        min_rate=deps.min_rate,
        cancellation=task_group.cancellation,
        progress=control.advance,
        on_finished=lambda member, size: control.file_done(
            member.file.file_id, copy=member.copy, state="done", size=size, name=member.name
        ),
    )
    upload = StreamedUpload(deps.storage, bucket, key, task_group.cancellation, uploaded)
    task_group.call(upload.create)
    try:
        task_group.each(upload.write, streamer.parts(), concurrency=CONCURRENCY)
        return task_group.call(upload.complete)
    except BaseException:
        upload.abort()
        raise


@dataclass
class StreamedUpload:
    """The multipart upload of a streamed archive."""

    storage: ObjectStorage
    bucket: str
    key: str
    cancellation: Cancellation
    #: The parts that are uploaded, with their sizes, by number.
    uploaded: dict[int, tuple[UploadedPart, int]]
    _id: str = field(init=False)

    def create(self) -> None:
        """Begin the upload."""
        self._id = self.storage.create_multipart_upload(
            self.bucket, self.key,
            content_type=records.CONTENT_TYPE, cancellation=self.cancellation,
        )  # fmt: skip

    def write(self, part: StreamedPart) -> None:
        """Upload a part."""
        content = part.content
        result = self.storage.upload_part(
            self.bucket, self.key, self._id, part.number, content,
            crc32=crc32(content), cancellation=self.cancellation,
        )  # fmt: skip
        self.uploaded[part.number] = (result, len(content))

    def complete(self) -> StoredArchive:
        """Make the archive of the uploaded parts."""
        rows = [self.uploaded[number] for number in sorted(self.uploaded)]
        checksum = join((part.crc32 or 0, length) for part, length in rows)
        size = sum(length for _, length in rows)
        try:
            etag = self.storage.complete_multipart_upload(
                self.bucket, self.key, self._id, [part for part, _ in rows],
                crc32=checksum, size=size, cancellation=self.cancellation,
            )  # fmt: skip
        except NoSuchUpload:
            # If the response to an earlier request was lost, the archive exists. Its key contains
            # the fencing token, so that no other attempt can have written it.
            info = find_object(self.storage, self.bucket, self.key, size, self.cancellation)
            if info is None:
                raise
            etag = info.etag
        return StoredArchive(key=self.key, size=size, crc32=checksum, etag=etag)

    def abort(self) -> None:
        """Delete the uploaded parts. Errors are only logged: the cleanup finds the upload."""
        retries = Cancellation(self.cancellation.storage_retries)
        try:
            self.storage.abort_multipart_upload(
                self.bucket, self.key, self._id, cancellation=retries
            )
        except DownloadError as error:
            log.warning("upload not cleaned up", error=str(error))


@dataclass
class StreamedPart:
    """A part of the upload that is being filled."""

    number: int
    buffer: memoryview
    filled: int = 0
    #: Contains a header, or a piece of one, that is not known yet.
    pending: bool = False

    @property
    def content(self) -> memoryview:
        """Return the filled memory."""
        return self.buffer[: self.filled]

    @property
    def free(self) -> memoryview:
        """Return the memory that is not filled yet."""
        return self.buffer[self.filled :]

    def claim(self, count: int) -> memoryview:
        """Return the next ``count`` free bytes and count them as filled."""
        self.filled += count
        return self.buffer[self.filled - count : self.filled]


@dataclass
class WrittenMember:
    """A member in the archive."""

    raw_name: bytes
    time: int
    offset: int
    size: int = 0
    crc32: int = 0


@dataclass
class ZipStreamer:
    """Writes the members one after the other and yields the archive's parts when they are full."""

    source: Source
    members: Sequence[Member]
    #: The files that the manifest lists as missing. None: no manifest.
    missing: Sequence[Missing] | None
    max_bytes: int | None
    #: The storage requires parts of one size.
    equal_parts: bool
    min_rate: MinRate
    cancellation: Cancellation
    progress: Callable[[int], None]
    on_finished: Callable[[Member, int], None]
    written: list[WrittenMember] = field(default_factory=list)
    _offset: int = 0
    _part: StreamedPart = field(init=False)
    _files: ReadAhead = field(init=False)
    #: Full parts that wait for a header.
    _waiting: list[StreamedPart] = field(default_factory=list)

    def parts(self) -> Iterator[StreamedPart]:
        """Yield every part when it is complete; the order is not that of the numbers."""
        self._part = self._new_part(1)
        self._files = ReadAhead(
            self.source,
            [member.file for member in self.members],
            min_rate=self.min_rate,
            cancellation=self.cancellation,
        )
        for member in self.members:
            yield from self._member(member)
        if self.missing is not None:
            yield from self._manifest(self.missing)
        start = self._offset
        for entry in self.written:
            yield from self._write(
                records.central_entry(
                    entry.raw_name,
                    size=entry.size, crc32=entry.crc32, time=entry.time, offset=entry.offset,
                )
            )  # fmt: skip
        size = self._offset - start
        yield from self._write(
            records.end_records(count=len(self.written), size=size, offset=start)
        )
        yield self._part

    def _member(self, member: Member) -> Iterator[StreamedPart]:
        file = member.file
        written = WrittenMember(member.raw_name, member.time, self._offset)
        zip64 = file.size is None or records.needs_zip64(file.size)
        header: list[memoryview] = []
        yield from self._reserve(len(_header(written, zip64)), header)
        with self._files.open_next(self.progress) as fill:
            while True:
                yield from self._next_part_if_full()
                view = self._part.free
                count = fill(view)
                written.crc32 = crc32(self._part.claim(count), written.crc32)
                written.size += count
                self._offset += count
                self._check_limit()
                if count < len(view):
                    break
        if file.crc32 is not None and file.crc32 != written.crc32:
            error = BadChecksum(f"File {file.file_id} does not match its stored checksum")
            raise name_file(error, file.file_id)
        _write_header(_header(written, zip64), header)
        self.written.append(written)
        self._part.pending = False
        yield from self._waiting
        self._waiting.clear()
        self.on_finished(member, written.size)

    def _manifest(self, missing: Sequence[Missing]) -> Iterator[StreamedPart]:
        document = render_manifest(
            [(m, w.size) for m, w in zip(self.members, self.written, strict=True)],
            missing,
            [w.crc32 for w in self.written],
        )
        written = WrittenMember(
            MANIFEST_NAME.encode(),
            max((member.time for member in self.members), default=records.EARLIEST),
            self._offset,
            len(document),
            crc32(document),
        )
        self.written.append(written)
        yield from self._write(_header(written, zip64=False))
        yield from self._write(document)

    def _write(self, data: bytes) -> Iterator[StreamedPart]:
        rest = memoryview(data)
        while rest:
            yield from self._next_part_if_full()
            view = self._part.claim(min(len(rest), len(self._part.free)))
            view[:] = rest[: len(view)]
            rest = rest[len(view) :]
            self._offset += len(view)

    def _reserve(self, size: int, views: list[memoryview]) -> Iterator[StreamedPart]:
        """Reserve ``size`` bytes for a header that is known later, and append them to ``views``."""
        while size:
            yield from self._next_part_if_full()
            views.append(self._part.claim(min(size, len(self._part.free))))
            self._part.pending = True
            size -= len(views[-1])
            self._offset += len(views[-1])

    def _next_part_if_full(self) -> Iterator[StreamedPart]:
        full = self._part
        if full.free:
            return
        if full.number == MAX_PARTS:
            raise FileTooLarge(TOO_LARGE_TOGETHER)
        self._part = self._new_part(full.number + 1)
        if full.pending:
            self._waiting.append(full)
        else:
            yield full

    def _new_part(self, number: int) -> StreamedPart:
        return StreamedPart(number, part_memory(part_size(number, equal_parts=self.equal_parts)))

    def _check_limit(self) -> None:
        if self.max_bytes is None:
            return
        if self._offset > self.max_bytes + MEMBER_OVERHEAD * len(self.members):
            raise FileTooLarge(f"The files have more than {self.max_bytes} bytes")


def _header(written: WrittenMember, zip64: bool) -> bytes:
    return records.local_header(
        written.raw_name, size=written.size, crc32=written.crc32, time=written.time, zip64=zip64
    )


def _write_header(data: bytes, views: Sequence[memoryview]) -> None:
    """Write ``data`` into the reserved views."""
    start = 0
    for view in views:
        view[:] = data[start : start + len(view)]
        start += len(view)
