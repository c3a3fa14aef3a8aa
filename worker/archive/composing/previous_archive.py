"""An archive that was built before for the same file ids: what it holds need not be fetched again.

After a build an index is stored beside the archives, under a key that depends on the set of file
ids only. It says which version of which file stands where. A later build of that set knows from
it the names of files that did not change, and takes runs of small files from the old archive in
one read, or whole parts by one copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from common.errors import DownloadError, FileChanged, StorageError
from common.object_storage import Cancellation, NoSuchKey, NoSuchUpload, ObjectStorage
from common.sources import SourceFile
from worker.archive.planning.layout import Piece, PlannedPart, Span
from worker.archive.planning.members import Member
from worker.archive.planning.plan import Plan
from worker.archive.zip_format.crc32 import crc32

if TYPE_CHECKING:
    from worker.archive.composing.state import BuildState, BuildTools

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A file as it stands in the previous archive."""

    entry: SourceFile
    name: str
    #: Of the bytes that went into the archive.
    crc32: int
    #: Of its local header.
    offset: int


@dataclass(frozen=True, kw_only=True)
class PreviousArchive:
    """An archive of an earlier build."""

    bucket: str
    key: str
    etag: str
    held: dict[int, Held]

    def entries(self) -> dict[int, SourceFile]:
        return {file_id: held.entry for file_id, held in self.held.items()}

    def exists(self, tools: BuildTools) -> bool:
        """Whether the archive is still the one that the index was written for."""
        try:
            found = tools.store.head_object(
                self.bucket, self.key, cancellation=tools.task_group.cancellation
            )
        except NoSuchKey:
            return False
        return found.etag == self.etag

    def crc32(self, member: Member) -> int | None:
        """The checksum of the file, if the archive holds this version of it."""
        held = self._same(member)
        return None if held is None else held.crc32

    def position(self, plan: Plan, members: Sequence[Member], span: Span) -> int | None:
        """Where the bytes of a header or a whole file of ``plan`` stand in this archive."""
        if span.piece is Piece.TAIL or span.item >= len(members):
            return None
        item, held = plan.items[span.item], self._same(members[span.item])
        if held is None:
            return None
        if span.piece is Piece.HEADER:
            return held.offset + span.start
        return held.offset + item.header_size if span.length == item.size else None

    def range_of(self, plan: Plan, members: Sequence[Member], part: PlannedPart) -> int | None:
        """Where a whole part stands in this archive, if it does so without a gap."""
        first = end = self.position(plan, members, part.spans[0])
        for span in part.spans:
            position = self.position(plan, members, span)
            if position is None or position != end:
                return None
            end = position + span.length
        return first

    def _same(self, member: Member) -> Held | None:
        held = self.held.get(member.entry.file_id)
        if held and held.name == member.name and same_version(held.entry, member.entry):
            return held
        return None


@contextmanager
def still_there() -> Iterator[None]:
    """A previous archive that vanishes or changes while it is used is no fault of the files."""
    try:
        yield
    except NoSuchUpload:
        raise
    except (NoSuchKey, FileChanged) as error:
        raise StorageError("The previous archive is not there any more") from error


def same_version(one: SourceFile, other: SourceFile) -> bool:
    """Whether both are the same bytes of the same age."""
    return one.etag is not None and (one.origin, one.etag, one.size, one.modified) == (
        other.origin,
        other.etag,
        other.size,
        other.modified,
    )


def index_key(file_ids: Sequence[int]) -> str:
    ids = ",".join(map(str, sorted(file_ids)))
    return f"indexes/{hashlib.sha256(ids.encode()).hexdigest()[:32]}.json"


def load_previous(
    store: ObjectStorage, bucket: str, file_ids: Sequence[int], *, cancellation: Cancellation
) -> PreviousArchive | None:
    """The previous archive of these files, if its index can be read. It may be gone itself."""
    try:
        with store.get_object(bucket, index_key(file_ids), cancellation=cancellation) as answer:
            document = orjson.loads(answer.read_all())
        return _parsed(bucket, document)
    except (DownloadError, ValueError, KeyError, TypeError):
        return None


def remember(work: BuildState, etag: str, file_ids: Sequence[int]) -> None:
    """Leave an index behind for the next build of the same files; it is no loss if it fails."""
    blueprint = work.blueprint
    members, crc32s, offsets = blueprint.members, work.ledger.crc32s(), work.plan.offsets
    rows = [
        [
            *(m.entry.file_id, m.entry.origin, m.entry.etag, m.entry.size, m.entry.name, m.name),
            *(m.entry.modified.timestamp() if m.entry.modified else None, m.entry.crc32),
            *(m.entry.content_type, m.entry.location, crc, offset),
        ]
        for m, crc, offset in zip(members, crc32s, offsets, strict=False)
    ]
    body = orjson.dumps({"key": blueprint.key, "etag": etag, "files": rows})
    try:
        work.tools.store.put_object(
            blueprint.bucket, index_key(file_ids), body,
            content_type="application/json", crc32=crc32(body),
        )  # fmt: skip
    except DownloadError as error:
        log.warning("no index was stored", plan=blueprint.plan_id, why=str(error))


def _parsed(bucket: str, document: dict[str, Any]) -> PreviousArchive:
    held = {}
    for row in document["files"]:
        file_id, origin, etag, size, raw, name, modified, listed, *rest = row
        content_type, location, crc, offset = rest
        entry = SourceFile(
            file_id=file_id,
            origin=origin,
            name=raw,
            size=size,
            etag=etag,
            modified=None if modified is None else datetime.fromtimestamp(modified, UTC),
            content_type=content_type,
            crc32=listed,
            location=tuple(location) if location else None,
        )
        held[file_id] = Held(entry, name, crc, offset)
    return PreviousArchive(bucket=bucket, key=document["key"], etag=document["etag"], held=held)
