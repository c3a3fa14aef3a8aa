"""What a source says about a file: plain data without I/O, so that planning archives stays pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from common.errors import DownloadError, FileForbidden, FileNotFound

Error = TypeVar("Error", bound=DownloadError)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One version of one file."""

    file_id: int
    #: As the source names it: not yet safe to write into an archive.
    name: str
    #: Bytes; None if only reading the file to its end tells.
    size: int | None
    #: Names the version in If-Match; None if the source has no strong validator.
    etag: str | None = None
    modified: datetime | None = None
    content_type: str | None = None
    #: Of the whole file, as the storage computed it on upload; None if there is none.
    crc32: int | None = None
    #: As the storage computed it on upload. Not compared: an earlier release did not record it.
    sha256: str | None = field(default=None, compare=False)
    #: Identifies the file among all sources, such as its URL without credentials.
    origin: str
    #: Bucket and key, if the object storage can copy the file.
    location: tuple[str, str] | None = None
    #: Any range can be read, and reading fails once the file is another version.
    ranged: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """A file that is unavailable; ``code`` is one of a job's failure codes."""

    file_id: int
    code: str
    message: str

    @classmethod
    def because_of(cls, error: DownloadError, file_id: int) -> Missing:
        """Describe a file that a source permanently fails to deliver."""
        match error:
            case FileNotFound():
                status = f" (HTTP {error.http_status})" if error.http_status else ""
                message = f"File {file_id} does not exist{status}"
            case FileForbidden():
                message = f"You don't have permission to download file {file_id}"
            case _:
                message = f"File {file_id}: {error.message}"
        return cls(file_id=file_id, code=error.code, message=message)


FileDescription = SourceFile | Missing


def name_file(error: Error, file_id: int) -> Error:
    """Put the file into the error and its message, so that users see which one cannot be read."""
    error.file_id = file_id
    if not error.message.startswith("File "):
        error.args = (f"File {file_id}: {error.message}",)
    return error
