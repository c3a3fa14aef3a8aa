"""The archive of an earlier build of the same file ids, whose bytes can be reused.

After a build, an index is stored next to the archives. Its key depends only on the set of file ids
and their paths, and it says which version of which file is at which offset. The next build of that
set takes from it the names of unchanged files, and reuses bytes of the old archive: runs of small
files in one read, whole parts in one copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from common.errors import DownloadError, FileChanged, SourceForbidden, StorageError
from common.object_storage import Cancellation, NoSuchKey, NoSuchUpload, ObjectStorage
from common.sources import SourceFile
from worker.archive.planning.archive_plan import ArchivePlan
from worker.archive.planning.layout import ByteSpan, PlannedPart, SpanKind
from worker.archive.planning.members import Entry, Member
from worker.archive.planning.plan import Plan
from worker.archive.zip_format.crc32 import crc32

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file in the previous archive."""

    file: SourceFile
    #: The checksum of the bytes in the archive.
    crc32: int
    #: The offset of the local header.
    offset: int


@dataclass(frozen=True, kw_only=True)
class PreviousArchive:
    """An archive of an earlier build."""

    bucket: str
    key: str
    etag: str
    #: By file id and by name in the archive.
    files: dict[tuple[int, str], ArchivedFile]

    def source_files(self) -> dict[int, SourceFile]:
        """Return the files as the source described them then."""
        return {file_id: archived.file for (file_id, _), archived in self.files.items()}

    def exists(self, storage: ObjectStorage, cancellation: Cancellation) -> bool:
        """Return whether the archive that the index describes is still there."""
        try:
            info = storage.head_object(self.bucket, self.key, cancellation=cancellation)
        except (NoSuchKey, SourceForbidden):
            return False
        return info.etag == self.etag

    def crc32(self, member: Member) -> int | None:
        """Return the checksum of a file if the archive has this version of it."""
        archived = self._find(member)
        return None if archived is None else archived.crc32

    def position(self, plan: Plan, members: Sequence[Member], span: ByteSpan) -> int | None:
        """Return the offset of a header or of a whole file in this archive, or None."""
        if span.kind is SpanKind.DIRECTORY or span.item >= len(members):
            return None
        item, archived = plan.items[span.item], self._find(members[span.item])
        if archived is None:
            return None
        if span.kind is SpanKind.HEADER:
            return archived.offset + span.start
        return archived.offset + item.header_size if span.length == item.size else None

    def range_of(self, plan: Plan, members: Sequence[Member], part: PlannedPart) -> int | None:
        """Return the offset of a whole part in this archive if it is there without gaps."""
        first = end = self.position(plan, members, part.spans[0])
        for span in part.spans:
            position = self.position(plan, members, span)
            if position is None or position != end:
                return None
            end = position + span.length
        return first

    def _find(self, member: Member) -> ArchivedFile | None:
        archived = self.files.get((member.file.file_id, member.name))
        if archived and is_same_version(archived.file, member.file):
            return archived
        return None


@contextmanager
def reading_previous() -> Iterator[None]:
    """Raise a retryable error if the previous archive disappears, changes or is denied."""
    try:
        yield
    except NoSuchUpload:
        raise
    except (NoSuchKey, FileChanged, SourceForbidden) as error:
        raise StorageError("The previous archive is no longer readable") from error


def is_same_version(one: SourceFile, other: SourceFile) -> bool:
    """Return whether both have the same bytes and the same time."""
    return one.etag is not None and (one.origin, one.etag, one.size, one.modified) == (
        other.origin,
        other.etag,
        other.size,
        other.modified,
    )


def index_key(entries: Sequence[Entry]) -> str:
    """Return the key of the index for a set of files and their paths."""
    ids = ",".join(str(entry.file_id) for entry in sorted(entries, key=_order))
    if any(entry.path for entry in entries):
        ids += orjson.dumps(sorted(map(_order, entries))).decode()
    return f"indexes/{hashlib.sha256(ids.encode()).hexdigest()[:32]}.json"


def _order(entry: Entry) -> tuple[int, str]:
    return entry.file_id, entry.path or ""


def load_previous_archive(
    storage: ObjectStorage, bucket: str, entries: Sequence[Entry], cancellation: Cancellation
) -> PreviousArchive | None:
    """Return the previous archive of these files if its index is readable; it may be gone."""
    try:
        with storage.get_object(bucket, index_key(entries), cancellation=cancellation) as response:
            document = orjson.loads(response.read_all())
        return _parse(bucket, document)
    except (DownloadError, ValueError, KeyError, TypeError):
        return None


def store_index(
    storage: ObjectStorage,
    archive_plan: ArchivePlan,
    *,
    etag: str,
    crc32s: Sequence[int],
    entries: Sequence[Entry],
) -> None:
    """Store the index for the next build of the same files. A failure is only logged."""
    rows = [
        [
            *(m.file.file_id, m.file.origin, m.file.etag, m.file.size, m.file.name, m.name),
            *(m.file.modified.timestamp() if m.file.modified else None, m.file.crc32),
            *(m.file.content_type, m.file.location, crc, offset),
        ]
        for m, crc, offset in zip(
            archive_plan.members, crc32s, archive_plan.plan.offsets, strict=False
        )
    ]
    # Besides the rows, whose length is the same in every release.
    sha256s = {str(m.file.file_id): m.file.sha256 for m in archive_plan.members if m.file.sha256}
    body = orjson.dumps({"key": archive_plan.key, "etag": etag, "files": rows, "sha256": sha256s})
    try:
        storage.put_object(
            archive_plan.bucket, index_key(entries), body,
            content_type="application/json", crc32=crc32(body), is_archive=False,
        )  # fmt: skip
    except DownloadError as error:
        log.warning("archive index not stored", plan=archive_plan.plan_id, error=str(error))


def _parse(bucket: str, document: dict[str, Any]) -> PreviousArchive:
    files, sha256s = {}, document.get("sha256", {})
    for row in document["files"]:
        file_id, origin, etag, size, source_name, name, modified, listed_crc32, *rest = row
        content_type, location, crc, offset = rest
        file = SourceFile(
            file_id=file_id,
            origin=origin,
            name=source_name,
            size=size,
            etag=etag,
            modified=None if modified is None else datetime.fromtimestamp(modified, UTC),
            content_type=content_type,
            crc32=listed_crc32,
            sha256=sha256s.get(str(file_id)),
            location=tuple(location) if location else None,
        )
        files[file_id, name] = ArchivedFile(file, crc, offset)
    return PreviousArchive(bucket=bucket, key=document["key"], etag=document["etag"], files=files)
