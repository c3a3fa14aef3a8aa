"""One archive in the making: what all its steps share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from common.object_storage import Cancellation, ObjectStorage, UploadedPart
from common.sources import Missing, Source
from common.task_group import TaskGroup
from worker.archive.composing.checksums import FileChecksums
from worker.archive.composing.previous_archive import PreviousArchive
from worker.archive.composing.upload_log import UploadLog
from worker.archive.min_rate import MinRate
from worker.archive.planning.layout import Kind, Piece, PlannedPart, Span
from worker.archive.planning.manifest import render
from worker.archive.planning.members import Member
from worker.archive.planning.plan import Plan
from worker.archive.zip_format.crc32 import crc32
from worker.attempt.control import Control


@dataclass(frozen=True, kw_only=True)
class ArchivePlan:
    """What is to be built: the members, the layout, and where it goes."""

    #: Names this very content: equal ids are equal bytes.
    plan_id: str
    plan: Plan
    members: Sequence[Member]
    #: None: without a manifest, which else is the last item of the plan.
    missing: Sequence[Missing] | None
    bucket: str
    #: Everything that belongs to the plan has keys that begin so.
    prefix: str
    #: The store copies ranges of objects by itself.
    can_copy: bool

    @property
    def key(self) -> str:
        return f"{self.prefix}archive.zip"

    @property
    def metadata(self) -> dict[str, str]:
        """What the finished object says of itself."""
        return {"plan": self.plan_id}

    def temporary(self, number: int) -> str:
        return f"{self.prefix}parts/{number}"

    def manifest(self, crc32s: Sequence[int]) -> bytes:
        sized = [(member, member.entry.size or 0) for member in self.members]
        return render(sized, self.missing or [], crc32s)


@dataclass(frozen=True, kw_only=True)
class BuildTools:
    """What it is built with."""

    source: Source
    store: ObjectStorage
    control: Control
    pace: MinRate
    task_group: TaskGroup


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredArchive:
    """A finished archive."""

    key: str
    size: int
    crc32: int | None
    etag: str
    modified: datetime | None = None


@dataclass
class BuildStats:
    """How many bytes went which way, for logs and metrics."""

    copied: int = 0
    through_worker: int = 0
    reused: int = 0
    resumed: int = 0
    parts_resumed: int = 0


class BuildState:
    """The state of a build: checksums known, parts in the store, files finished. Thread safe."""

    def __init__(
        self,
        blueprint: ArchivePlan,
        tools: BuildTools,
        journal: UploadLog,
        previous: PreviousArchive | None,
    ) -> None:
        self.blueprint = blueprint
        self.plan = blueprint.plan
        self.tools = tools
        self.journal = journal
        self.previous = previous
        of_manifest: list[int | None] = [] if blueprint.missing is None else [None]
        listed: list[int | None] = [member.entry.crc32 for member in blueprint.members]
        held = [previous.crc32(member) if previous else None for member in blueprint.members]
        expected = [a if b is None else b for a, b in zip(held, listed, strict=True)]
        self.ledger = FileChecksums(self.plan, listed + of_manifest, expected + of_manifest)
        self.sent: dict[int, UploadedPart] = {}
        self.tally = BuildStats()
        self._lock = threading.Lock()
        self._parts_left = Counter(span.item for part in self.plan.parts for span in _data(part))
        for index, member in enumerate(blueprint.members):
            if not member.entry.size:
                self._file_done(index)

    @property
    def cancellation(self) -> Cancellation:
        return self.tools.task_group.cancellation

    @property
    def upload_id(self) -> str:
        """Of the archive's own upload."""
        return self.journal.upload_id or ""

    @property
    def is_one_object(self) -> bool:
        """So small that one PUT does it, without an upload of parts."""
        return len(self.plan.parts) == 1 and self.plan.parts[0].kind is Kind.WRITE

    @property
    def files_known(self) -> bool:
        """Whether the checksum of every file, the manifest apart, is known."""
        return self.ledger.unknown <= (self.blueprint.missing is not None)

    @cached_property
    def manifest(self) -> bytes:
        """The manifest's bytes, its checksum being known with them; empty if there is none."""
        if self.blueprint.missing is None:
            return b""
        crc32s = [self.ledger.crc32(i) or 0 for i in range(len(self.blueprint.members))]
        document = self.blueprint.manifest(crc32s)
        for span in self.ledger.spans(len(self.blueprint.members)):
            self.ledger.learn(span, crc32(document[span.start : span.start + span.length]))
        return document

    @cached_property
    def tail(self) -> bytes:
        """The directory; every checksum must be known."""
        return self.plan.tail(self.ledger.crc32s())

    def range_in_previous(self, part: PlannedPart) -> int | None:
        """Where the store could copy a whole written part from, or None."""
        if self.previous is None or not self.blueprint.can_copy:
            return None
        if self.is_one_object or part is self.plan.parts[-1]:
            return None
        return self.previous.range_of(self.plan, self.blueprint.members, part)

    def add(self, **counts: int) -> None:
        """Count bytes or parts in the tally."""
        with self._lock:
            for name, count in counts.items():
                setattr(self.tally, name, getattr(self.tally, name) + count)

    def part_sent(self, planned: PlannedPart, part: UploadedPart) -> None:
        """The store holds the part: write that down and report the files that it completes."""
        part = UploadedPart(number=planned.number, etag=part.etag, crc32=part.crc32)
        self.journal.sent(part, self.ledger.unlisted(planned.spans))
        self._arrived(planned, part)

    def recall(self) -> None:
        """Take over what the journal says is in the store already."""
        for planned in self.plan.parts:
            if record := self.journal.parts.get(planned.number):
                self.ledger.recall(planned.spans, record.crc32s)
                self._arrived(planned, record.part)
                done = sum(span.length for span in _data(planned))
                self.add(resumed=planned.size, parts_resumed=1)
                self.tools.control.advance(done)
            elif (rung := self.journal.rungs.get(planned.number)) and planned.copied:
                self.ledger.learn(planned.copied, rung.part.crc32 or 0)
                self.add(resumed=planned.copied.length)
                self.tools.control.advance(planned.copied.length)

    def _arrived(self, planned: PlannedPart, part: UploadedPart) -> None:
        finished = []
        with self._lock:
            self.sent[planned.number] = part
            for span in _data(planned):
                self._parts_left[span.item] -= 1
                if self._parts_left[span.item] == 0:
                    finished.append(span.item)
        for item in finished:
            self._file_done(item)

    def _file_done(self, item: int) -> None:
        if item < len(self.blueprint.members):
            member = self.blueprint.members[item]
            self.tools.control.file_done(
                member.entry.file_id, state="done", size=member.entry.size, name=member.name
            )


def _data(part: PlannedPart) -> list[Span]:
    return [span for span in part.spans if span.piece is Piece.DATA]
