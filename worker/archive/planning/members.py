"""Turns the files that a source describes into the members of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import (
    DownloadError,
    FileChanged,
    FileForbidden,
    FileNotFound,
    FileTooLarge,
    InvalidFileId,
    PermanentDownloadError,
    SourceForbidden,
)
from common.jobs.model import OnMissing
from common.sources.files import FileDescription, Missing, SourceFile
from worker.archive.zip_format import names, records

MANIFEST_NAME = "MANIFEST.json"

_ERRORS: dict[str, type[DownloadError]] = {
    error.code: error
    for error in (FileChanged, FileForbidden, FileNotFound, InvalidFileId, SourceForbidden)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file and its name in the archive."""

    name: str
    file: SourceFile

    @property
    def raw_name(self) -> bytes:
        return self.name.encode()

    @property
    def time(self) -> int:
        return records.timestamp(self.file.modified)


def name_members(files: Sequence[SourceFile]) -> list[Member]:
    """Give the files safe and unique names; the name of the manifest is reserved."""
    safe = (names.safe_name(f.name, fallback=f"file-{f.file_id}") for f in files)
    unique = names.unique_names(safe, reserved=[MANIFEST_NAME])
    return [Member(name=n, file=f) for n, f in zip(unique, files, strict=True)]


def select_files(
    described: Sequence[FileDescription], *, on_missing: OnMissing, max_bytes: int | None
) -> tuple[list[SourceFile], list[Missing]]:
    """Return the files for the archive and the missing ones.

    Raise the first missing file's error if ``on_missing`` is FAIL or if no file is left, and
    FileTooLarge if the files have more than ``max_bytes`` together.
    """
    files = [file for file in described if isinstance(file, SourceFile)]
    missing = [file for file in described if isinstance(file, Missing)]
    if missing and (on_missing is OnMissing.FAIL or not files):
        raise _ERRORS.get(missing[0].code, PermanentDownloadError)(missing[0].message)
    total = sum(file.size or 0 for file in files)
    if max_bytes is not None and total > max_bytes:
        raise FileTooLarge(f"The files have {total} bytes in total; the limit is {max_bytes}")
    return files, missing
