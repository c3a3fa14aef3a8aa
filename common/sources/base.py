"""The interface of a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from common.object_storage import Cancellation
from common.sources.files import FileDescription, SourceFile
from common.task_group import TaskGroup

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

        ``progress`` is called with the number of bytes received, and with 0 repeatedly while a
        limit for the source's host delays them.

        Only for files that are ``ranged``. Raise FileChanged if the file is another version now.
        """

    def open(
        self, file: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> AbstractContextManager[Fill]:
        """Return a context that reads the whole file, for files without ranges or a size."""
