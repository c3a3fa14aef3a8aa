"""What a source says of its files, and what is asked of a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from common.object_storage import Cancellation
from common.task_group import TaskGroup


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One version of one file."""

    file_id: int
    #: As the source gives it: not yet safe to write into an archive.
    name: str
    #: Bytes; None where the source tells only by ending.
    size: int | None
    #: Names the version in If-Match; None where the source cannot pin one.
    etag: str | None = None
    modified: datetime | None = None
    content_type: str | None = None
    #: Of the whole file, stored with it when it was written; None where there is none.
    crc32: int | None = None
    #: Names the file among all sources, such as its URL without credentials.
    origin: str
    #: Bucket and key, where the store can copy the file by itself.
    location: tuple[str, str] | None = None
    #: Any range can be read, and is refused once the file is another version.
    ranged: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """A file that cannot be had, and why: ``code`` is one of the failure codes of a job."""

    file_id: int
    code: str
    message: str


FileDescription = SourceFile | Missing

#: Fills a view with what comes next; gives less than was asked for only at the end of the file.
Fill = Callable[[memoryview], int]


class Source(Protocol):
    """Where the files of the catalogue come from. Thread safe."""

    def describe(
        self,
        file_ids: Sequence[int],
        task_group: TaskGroup,
        *,
        known: Mapping[int, SourceFile],
    ) -> list[FileDescription]:
        """One answer for each id, in their order.

        ``known`` are earlier answers: what has not changed since need not be asked for in full.
        """

    def read_into(
        self,
        entry: SourceFile,
        view: memoryview,
        *,
        start: int,
        cancellation: Cancellation,
        progress: Callable[[int], None],
    ) -> None:
        """Fill ``view`` with the bytes from ``start`` on, over broken connections.

        Raises FileChanged where the file is no longer the version of ``entry``.
        """

    def open(
        self, entry: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> AbstractContextManager[Fill]:
        """The file from its beginning to its end, for those whose ranges or size are unknown."""
