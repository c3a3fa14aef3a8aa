"""Small files are read ahead: several at a time, in order, within limits, and without a trace."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from common.errors import NetworkError
from common.object_storage import Cancellation, Cancelled
from common.sources import SourceFile
from tests.support.archives import RecordingControl
from worker.archive import read_ahead
from worker.archive.min_rate import MinRate
from worker.archive.read_ahead import FILES_AHEAD, MAX_BYTES, ReadAhead

CONTENT = random.Random(8).randbytes(3 * MAX_BYTES)


class SlowSource:
    """Files of the given sizes, each a second's fraction away."""

    def __init__(self, sizes: list[int], *, known: bool = True, delay: float = 0.0) -> None:
        self.sizes = sizes
        self.known = known
        self.delay = delay
        self.fails_at: int | None = None
        self.open_now = 0
        self.most_open = 0
        self.opened: list[int] = []
        self._lock = threading.Lock()

    def files(self) -> list[SourceFile]:
        return [
            SourceFile(
                file_id=i, name=str(i), origin=str(i), ranged=False,
                size=size if self.known else None,
            )
            for i, size in enumerate(self.sizes)
        ]  # fmt: skip

    @contextmanager
    def open(
        self, file: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Callable[[memoryview], int]]:
        with self._lock:
            self.opened.append(file.file_id)
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
        # As an HTTP source does while it waits for the server.
        progress(0)
        position, size = 0, self.sizes[file.file_id]

        def fill(view: memoryview) -> int:
            nonlocal position
            cancellation.wait(self.delay)
            if file.file_id == self.fails_at:
                raise NetworkError("broken")
            block = CONTENT[position : min(size, position + len(view))]
            view[: len(block)] = block
            position += len(block)
            progress(len(block))
            return len(block)

        try:
            yield fill
        finally:
            with self._lock:
                self.open_now -= 1


def read_all(
    source: SlowSource, cancellation: Cancellation | None = None
) -> tuple[list[bytes], int]:
    """Return the contents of all files, and the number of bytes that were reported."""
    files = source.files()
    reported: list[int] = []
    ahead = ReadAhead(
        source,
        files,
        min_rate=MinRate(RecordingControl(), min_rate=1, window=30),
        cancellation=cancellation or Cancellation(),
    )
    contents = []
    for _ in files:
        with ahead.open_next(reported.append) as fill:
            content, view = bytearray(), memoryview(bytearray(700_000))
            while True:
                count = fill(view)
                content += view[:count]
                if count < len(view):
                    break
            contents.append(bytes(content))
    return contents, sum(reported)


@pytest.mark.parametrize("known", [True, False])
def test_files_come_in_order_whatever_their_sizes(known: bool) -> None:
    edges = [0, 1, MAX_BYTES - 1, MAX_BYTES, MAX_BYTES + 1, 2 * MAX_BYTES]
    source = SlowSource(edges * 3 + [5] * 20, known=known)
    contents, reported = read_all(source)
    assert contents == [CONTENT[:size] for size in source.sizes]
    assert reported == sum(source.sizes)


def test_small_files_are_read_at_the_same_time() -> None:
    source = SlowSource([1_000] * 33, delay=0.05)
    began = time.monotonic()
    read_all(source)
    assert time.monotonic() - began < 33 * 0.05 / 2
    assert 4 <= source.most_open <= FILES_AHEAD + 1


def test_large_file_is_opened_when_it_is_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "FILES_AHEAD", 3)
    source = SlowSource([10, 3 * MAX_BYTES, 3 * MAX_BYTES])
    read_all(source)
    assert source.opened == [0, 1, 2]


def test_error_is_raised_at_the_file_that_it_belongs_to() -> None:
    source = SlowSource([10] * 20)
    source.fails_at = 7
    with pytest.raises(NetworkError):
        read_all(source)
    assert max(source.opened) <= 7 + FILES_AHEAD


def test_cancellation_ends_the_wait_and_the_threads() -> None:
    source, cancellation = SlowSource([10] * 20, delay=60), Cancellation()
    threading.Timer(0.2, cancellation.set).start()
    before = threading.active_count()
    with pytest.raises(Cancelled):
        read_all(source, cancellation)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and (threading.active_count() > before or source.open_now):
        time.sleep(0.01)
    assert threading.active_count() <= before
    assert source.open_now == 0


def test_the_rate_of_a_source_counts_only_while_it_is_read() -> None:
    """The storage is slow, and the next part has no memory before another one is uploaded."""
    source = SlowSource([MAX_BYTES + 1])
    min_rate = MinRate(RecordingControl(), min_rate=1_000_000, window=0.1)
    files = ReadAhead(source, source.files(), min_rate=min_rate, cancellation=Cancellation())
    with files.open_next(lambda _: None) as fill:
        assert fill(memoryview(bytearray(100))) == 100
        time.sleep(0.15)
        min_rate.check()
        assert fill(memoryview(bytearray(100))) == 100
