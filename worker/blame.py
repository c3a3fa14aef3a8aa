"""A source whose errors say that they come from it, so that the storage is not blamed for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from common.errors import DownloadError
from common.storage import Stop
from worker.crew import Crew
from worker.sources import Described, Source, SourceEntry
from worker.sources.entry import Fill


class BlamedSource:
    """Passes every call on to a source that is not the storage itself."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(
        self, file_ids: Sequence[int], crew: Crew, *, known: Mapping[int, SourceEntry]
    ) -> list[Described]:
        with _blame():
            return self._source.describe(file_ids, crew, known=known)

    def read_into(
        self,
        entry: SourceEntry,
        view: memoryview,
        *,
        start: int,
        stop: Stop,
        progress: Callable[[int], None],
    ) -> None:
        with _blame():
            self._source.read_into(entry, view, start=start, stop=stop, progress=progress)

    @contextmanager
    def open(
        self, entry: SourceEntry, *, stop: Stop, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        with ExitStack() as held:
            with _blame():
                fill = held.enter_context(self._source.open(entry, stop=stop, progress=progress))

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
