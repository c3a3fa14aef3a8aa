"""The interface of a source, and its description of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from common.errors import DownloadError, FileNotFound, SourceForbidden
from common.object_storage import Cancellation
from common.task_group import TaskGroup


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
                message = f"File {file_id} does not exist"
            case SourceForbidden():
                message = f"File {file_id} is not readable"
            case _:
                message = f"File {file_id}: {error.message}"
        return cls(file_id=file_id, code=error.code, message=message)


FileDescription = SourceFile | Missing

#: Fills a view with the next bytes; returns fewer than fit only at the end of the file.
Fill = Callable[[memoryview], int]


class Source(Protocol):
    """The place that files come from. Thread safe."""

    def describe(
        self,
        file_ids: Sequence[int],
        task_group: TaskGroup,
        *,
        cached: Mapping[int, SourceFile],
    ) -> list[FileDescription]:
        """Return one description for each id, in their order.

        ``cached`` are earlier descriptions; a source may use them for files that did not change.
        Raise the DownloadError if the source itself is unavailable.
        """

    def read_into(
        self,
        file: SourceFile,
        view: memoryview,
        *,
        start: int,
        cancellation: Cancellation,
        progress: Callable[[int], None],
    ) -> None:
        """Fill ``view`` with the file's bytes from ``start`` on; resume broken connections.

        Only for files that are ``ranged``. Raise FileChanged if the file is another version now.
        """

    def open(
        self, file: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> AbstractContextManager[Fill]:
        """Return a context that reads the whole file, for files without ranges or a size."""
