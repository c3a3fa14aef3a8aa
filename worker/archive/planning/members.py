"""From what a source says of its files to the members of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import (
    DownloadError,
    FileNotFound,
    FileTooLarge,
    PermanentDownloadError,
    SourceForbidden,
    TemporaryUnavailable,
)
from common.jobs.model import OnMissing
from common.sources import FileDescription, Missing, SourceFile
from worker.archive.request import BuildRequest
from worker.archive.zip_format import names, records

MANIFEST_NAME = "MANIFEST.json"

_ERRORS: dict[str, type[DownloadError]] = {
    error.code: error for error in (FileNotFound, SourceForbidden, TemporaryUnavailable)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file under the name that it has in the archive."""

    name: str
    entry: SourceFile

    @property
    def raw_name(self) -> bytes:
        return self.name.encode()

    @property
    def time(self) -> int:
        return records.timestamp(self.entry.modified)


def members_of(entries: Sequence[SourceFile]) -> list[Member]:
    """The entries under safe and unique names; the manifest's own name is never given to a file."""
    safe = (names.safe_name(e.name, fallback=f"file-{e.file_id}") for e in entries)
    unique = names.unique_names(safe, taken=[MANIFEST_NAME])
    return [Member(name=n, entry=e) for n, e in zip(unique, entries, strict=True)]


def accepted(
    described: Sequence[FileDescription], request: BuildRequest
) -> tuple[list[SourceFile], list[Missing]]:
    """Which files go into the archive and which are skipped.

    Raises the first missing file's error unless missing files are skipped, or if nothing is left;
    FileTooLarge where the files together are larger than the request allows.
    """
    entries = [file for file in described if isinstance(file, SourceFile)]
    missing = [file for file in described if isinstance(file, Missing)]
    if missing and (request.on_missing is OnMissing.FAIL or not entries):
        raise _ERRORS.get(missing[0].code, PermanentDownloadError)(missing[0].message)
    total = sum(entry.size or 0 for entry in entries)
    if request.max_bytes is not None and total > request.max_bytes:
        raise FileTooLarge(f"The files have {total} bytes, {request.max_bytes} are allowed")
    return entries, missing
