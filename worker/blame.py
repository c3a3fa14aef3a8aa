"""A source whose errors say that they come from it, so that the storage is not blamed for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from common.errors import DownloadError
from common.object_storage import Cancellation
from common.sources import FileDescription, Source, SourceFile
from common.sources.base import Fill
from common.task_group import TaskGroup


class SourceErrorMarker:
    """Passes every call on to a source that is not the storage itself."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(
        self, file_ids: Sequence[int], task_group: TaskGroup, *, known: Mapping[int, SourceFile]
    ) -> list[FileDescription]:
        with _blame():
            return self._source.describe(file_ids, task_group, known=known)

    def read_into(
        self,
        entry: SourceFile,
        view: memoryview,
        *,
        start: int,
        cancellation: Cancellation,
        progress: Callable[[int], None],
    ) -> None:
        with _blame():
            self._source.read_into(
                entry, view, start=start, cancellation=cancellation, progress=progress
            )

    @contextmanager
    def open(
        self, entry: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        with ExitStack() as held:
            with _blame():
                fill = held.enter_context(
                    self._source.open(entry, cancellation=cancellation, progress=progress)
                )

            def blamed(view: memoryview) -> int:
                with _blame():
                    return fill(view)

            yield blamed


@contextmanager
def _blame() -> Iterator[None]:
    try:
        yield
    except DownloadError as error:
        error.from_source = True
        raise
