"""Turns the files that a source describes into the members of an archive."""

from __future__ import annotations

import itertools
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
from common.jobs.model import OnMissing, number_copies
from common.sources.files import FileDescription, Missing, SourceFile
from worker.archive.zip_format import names, records

MANIFEST_NAME = "MANIFEST.json"

_ERRORS: dict[str, type[DownloadError]] = {
    error.code: error
    for error in (FileChanged, FileForbidden, FileNotFound, InvalidFileId, SourceForbidden)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file and its name in the archive, with folders."""

    name: str
    file: SourceFile
    #: Which occurrence of the file in the request this is: 0 for the first.
    copy: int = 0

    @property
    def raw_name(self) -> bytes:
        return self.name.encode()

    @property
    def time(self) -> int:
        return records.timestamp(self.file.modified)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A requested file at one place of the archive."""

    file_id: int
    #: Which occurrence of the file in the request this is: 0 for the first.
    copy: int = 0
    #: Requested by the client; None: at the top, under the file's own name.
    path: str | None = None


def requested_entries(file_ids: Sequence[int], paths: Sequence[str | None]) -> list[Entry]:
    """Return one entry for each id; ``paths`` is empty or has one for each id, too."""
    return [
        Entry(file_id=file_id, copy=copy, path=path)
        for (file_id, copy), path in itertools.zip_longest(number_copies(file_ids), paths)
    ]


def name_members(entries: Sequence[Entry], files: Sequence[SourceFile]) -> list[Member]:
    """Give the entries of these files safe and unique names; the manifest's is reserved."""
    by_id = {file.file_id: file for file in files}
    pairs = [(entry, by_id[entry.file_id]) for entry in entries if entry.file_id in by_id]
    unique = names.unique_names(itertools.starmap(_safe_name, pairs), reserved=[MANIFEST_NAME])
    return [
        Member(name=name, file=file, copy=entry.copy)
        for name, (entry, file) in zip(unique, pairs, strict=True)
    ]


def _safe_name(entry: Entry, file: SourceFile) -> str:
    own_name = names.safe_name(file.name, fallback=f"file-{file.file_id}")
    return own_name if entry.path is None else names.safe_path(entry.path, own_name=own_name)


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
        raise FileTooLarge(f"The files have {total:,} bytes in total; the limit is {max_bytes:,}")
    return files, missing
