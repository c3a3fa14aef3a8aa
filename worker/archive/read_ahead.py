"""Reads small files ahead, so that latency does not add up where files are read one by one."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from common.object_storage import Cancellation, Cancelled
from common.sources import Source, SourceFile
from common.sources.base import Fill
from worker.archive.min_rate import MinRate

#: Files that are read at the same time as the one that is being written.
FILES_AHEAD: Final = 8
#: Larger files are read when it is their turn: a connection that waits until then could break, and
#: a source without ranges cannot resume it.
MAX_BYTES: Final = 2 * 1024 * 1024


class ReadAhead:
    """Opens files in their order while it reads the next ones into memory, at most 16 MiB."""

    def __init__(
        self,
        source: Source,
        files: Sequence[SourceFile],
        *,
        min_rate: MinRate,
        cancellation: Cancellation,
    ) -> None:
        self._source = source
        self._files = files
        self._min_rate = min_rate
        self._cancellation = cancellation
        self._next = 0
        self._ahead: dict[int, _SmallFile] = {}

    @contextmanager
    def open_next(self, progress: Callable[[int], None]) -> Iterator[Fill]:
        """Open the next file; ``progress`` is called when its bytes are used."""
        index, self._next = self._next, self._next + 1
        small = self._ahead.pop(index, None)
        for later in range(self._next, min(self._next + FILES_AHEAD, len(self._files))):
            file = self._files[later]
            if later not in self._ahead and (file.size is None or file.size <= MAX_BYTES):
                self._ahead[later] = _SmallFile(file, self._read)
        content = None if small is None else small.content(self._cancellation)
        if content is not None:
            yield _fill_from(content, progress)
            return
        advance: Callable[[int], None] | None = None

        def count_bytes(count: int) -> None:
            # A source reports that it waits before the first read, too.
            if advance is not None:
                advance(count)
            progress(count)

        with self._source.open(
            self._files[index], cancellation=self._cancellation, progress=count_bytes
        ) as fill:

            def measured_fill(view: memoryview) -> int:
                # Only while it reads: uploads that are slow are not the source's fault.
                nonlocal advance
                with self._min_rate.reading() as advance:
                    return fill(view)

            yield measured_fill

    def _read(self, file: SourceFile) -> memoryview | None:
        """Return the content of a file; None if it is not small after all."""
        # One byte more than fits shows whether the file ends.
        buffer = memoryview(bytearray((MAX_BYTES if file.size is None else file.size) + 1))
        with (
            self._min_rate.reading() as advance,
            self._source.open(file, cancellation=self._cancellation, progress=advance) as fill,
        ):
            count = fill(buffer)
        return buffer[:count] if count < len(buffer) else None


class _SmallFile:
    """A file that a thread reads into memory."""

    def __init__(self, file: SourceFile, read: Callable[[SourceFile], memoryview | None]) -> None:
        self._file = file
        self._read = read
        self._content: memoryview | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), daemon=True).start()

    def content(self, cancellation: Cancellation) -> memoryview | None:
        """Return the content as soon as it is there; None if the file is not small."""
        while not self._done.wait(0.25):
            if cancellation.requested:
                raise Cancelled
        if self._error is not None:
            raise self._error
        return self._content

    def _run(self) -> None:
        try:
            self._content = self._read(self._file)
        except BaseException as error:  # noqa: BLE001  raised again when the file is opened
            self._error = error
        finally:
            self._done.set()


def _fill_from(content: memoryview, progress: Callable[[int], None]) -> Fill:
    position = 0

    def fill(view: memoryview) -> int:
        nonlocal position
        block = content[position : position + len(view)]
        view[: len(block)] = block
        position += len(block)
        progress(len(block))
        return len(block)

    return fill
