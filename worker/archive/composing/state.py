"""The state of one archive while it is built, shared by all steps."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from common.object_storage import Cancellation, ObjectStorage, UploadedPart
from common.sources import Source
from common.task_group import TaskGroup
from worker.archive.composing.checksums import FileChecksums
from worker.archive.composing.previous_archive import PreviousArchive
from worker.archive.composing.upload_log import UploadLog
from worker.archive.min_rate import MinRate
from worker.archive.planning.archive_plan import ArchivePlan
from worker.archive.planning.layout import ByteSpan, PartKind, PlannedPart, SpanKind
from worker.archive.zip_format.crc32 import crc32
from worker.attempt.control import Control


@dataclass(frozen=True, kw_only=True)
class BuildDependencies:
    """The services that a build uses."""

    source: Source
    storage: ObjectStorage
    control: Control
    min_rate: MinRate
    task_group: TaskGroup


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredArchive:
    """A finished archive in the storage."""

    key: str
    size: int
    crc32: int | None
    etag: str
    modified: datetime | None = None
    #: When a lifecycle rule deletes it, if the storage says so.
    expires_at: datetime | None = None


@dataclass
class BuildStats:
    """The number of bytes by the way that they took, for logs and metrics."""

    copied: int = 0
    through_worker: int = 0
    reused: int = 0
    resumed: int = 0
    parts_resumed: int = 0


class BuildState:
    """Checksums, uploaded parts and finished files of one build. Thread safe."""

    def __init__(
        self,
        archive_plan: ArchivePlan,
        deps: BuildDependencies,
        upload_log: UploadLog,
        previous: PreviousArchive | None,
    ) -> None:
        self.archive_plan = archive_plan
        self.plan = archive_plan.plan
        self.deps = deps
        self.upload_log = upload_log
        #: An earlier attempt began the upload.
        self.resumed = upload_log.plan_id is not None
        self.previous = previous
        manifest_crc32: list[int | None] = [] if archive_plan.missing is None else [None]
        listed: list[int | None] = [member.file.crc32 for member in archive_plan.members]
        archived = [previous.crc32(m) if previous else None for m in archive_plan.members]
        expected = [a if b is None else b for a, b in zip(archived, listed, strict=True)]
        self.checksums = FileChecksums(
            self.plan,
            listed + manifest_crc32,
            expected + manifest_crc32,
            file_count=len(archive_plan.members),
        )
        self.uploaded_parts: dict[int, UploadedPart] = {}
        self.stats = BuildStats()
        self._lock = threading.Lock()
        self._parts_left = Counter(
            span.item for part in self.plan.parts for span in _data_spans(part)
        )
        for index, member in enumerate(archive_plan.members):
            if not member.file.size:
                self._report_file(index)

    @property
    def cancellation(self) -> Cancellation:
        return self.deps.task_group.cancellation

    @property
    def upload_id(self) -> str:
        """Return the id of the archive's own upload."""
        return self.upload_log.upload_id or ""

    @property
    def is_single_put(self) -> bool:
        """Return whether the archive is so small that PutObject is enough."""
        return len(self.plan.parts) == 1 and self.plan.parts[0].kind is PartKind.WRITE

    @property
    def has_new_parts(self) -> bool:
        """Return whether this attempt has uploaded parts itself, logged or not."""
        return len(self.uploaded_parts) > self.stats.parts_resumed

    @property
    def has_all_file_checksums(self) -> bool:
        """Return whether the checksums of all files except the manifest are known."""
        return self.checksums.unknown_files == 0

    @cached_property
    def manifest(self) -> bytes:
        """The manifest, empty if there is none. Rendering it adds its checksum."""
        if self.archive_plan.missing is None:
            return b""
        count = len(self.archive_plan.members)
        document = self.archive_plan.manifest(
            [self.checksums.crc32(item) or 0 for item in range(count)]
        )
        for span in self.checksums.spans(count):
            self.checksums.add(span, crc32(document[span.start : span.start + span.length]))
        return document

    @cached_property
    def directory(self) -> bytes:
        """The central directory; all checksums must be known."""
        return self.plan.directory(self.checksums.crc32s())

    def position_in_previous(self, span: ByteSpan) -> int | None:
        """Return the offset of a header or of a whole file in the previous archive, or None."""
        if self.previous is None:
            return None
        return self.previous.position(self.plan, self.archive_plan.members, span)

    def range_in_previous(self, part: PlannedPart) -> int | None:
        """Return from where the storage can copy a whole written part, or None."""
        if self.previous is None or not self.archive_plan.can_copy:
            return None
        if self.is_single_put or part is self.plan.parts[-1]:
            return None
        return self.previous.range_of(self.plan, self.archive_plan.members, part)

    def count(self, **counts: int) -> None:
        """Add bytes or parts to the stats."""
        with self._lock:
            for name, count in counts.items():
                setattr(self.stats, name, getattr(self.stats, name) + count)

    def add_part(self, planned_part: PlannedPart, part: UploadedPart) -> None:
        """Log a part that the storage has, and report the files that it completes."""
        part = UploadedPart(number=planned_part.number, etag=part.etag, crc32=part.crc32)
        self.upload_log.add_part(part, self.checksums.unlisted(planned_part.spans))
        self._add(planned_part, part)

    def resume(self) -> None:
        """Restore the parts that the upload log lists."""
        file_count = len(self.archive_plan.members)
        for planned_part in self.plan.parts:
            if logged := self.upload_log.parts.get(planned_part.number):
                self.checksums.restore(planned_part.spans, logged.crc32s)
                self._add(planned_part, logged.part)
                self.count(resumed=planned_part.size, parts_resumed=1)
                self.deps.control.advance(
                    sum(s.length for s in _data_spans(planned_part) if s.item < file_count)
                )

    def _add(self, planned_part: PlannedPart, part: UploadedPart) -> None:
        finished = []
        with self._lock:
            self.uploaded_parts[planned_part.number] = part
            for span in _data_spans(planned_part):
                self._parts_left[span.item] -= 1
                if self._parts_left[span.item] == 0:
                    finished.append(span.item)
        for item in finished:
            self._report_file(item)

    def _report_file(self, item: int) -> None:
        if item < len(self.archive_plan.members):
            member = self.archive_plan.members[item]
            self.deps.control.file_done(
                member.file.file_id,
                copy=member.copy,
                state="done",
                size=member.file.size,
                name=member.name,
            )


def _data_spans(planned_part: PlannedPart) -> list[ByteSpan]:
    return [span for span in planned_part.spans if span.kind is SpanKind.DATA]
