"""What a running attempt tells the outside, and how the outside tells it to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from common.errors import DownloadTimeout, LonghaulError
from common.jobs.model import FileReport, Progress

#: Seconds of transfer before a rate says anything.
_SETTLING: Final = 2.0
#: Weight of the newest interval in the moving average of the rate.
_NEWEST: Final = 0.3


class Control(Protocol):
    """What the archive engine needs of the attempt that it works for; thread safe."""

    def check(self) -> None:
        """Raise ``Interrupted`` or ``DownloadTimeout`` when the work must stop; call it often."""

    def expect(self, *, files: int, bytes: int | None) -> None:
        """The totals, once they are known; ``bytes`` of source content."""

    def advance(self, bytes: int) -> None:
        """So many more bytes of source content are done."""

    def file_done(
        self,
        file_id: int,
        *,
        state: str,
        size: int | None,
        name: str | None,
        error_code: str | None = None,
    ) -> None:
        """A file is ``done``, ``missing`` or ``failed``."""


class AttemptControl:
    """The ``Control`` of one attempt, read by the heartbeat from another thread."""

    def __init__(self, *, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``deadline``: seconds that the attempt may take."""
        self._clock = clock
        self._started = clock()
        self._deadline = self._started + deadline
        self._lock = threading.Lock()
        self._stop: LonghaulError | None = None
        self._files: int | None = None
        self._total: int | None = None
        self._done_bytes = 0
        self._percent = 0
        self._rate: float | None = None
        self._sampled = (self._started, 0)
        self._reports: dict[int, FileReport] = {}
        self._unsent: set[int] = set()

    def check(self) -> None:
        if self._stop is not None:
            raise self._stop
        if self._clock() > self._deadline:
            raise DownloadTimeout

    def stop(self, why: LonghaulError) -> None:
        """Make the next ``check`` raise ``why``; the first reason stands."""
        with self._lock:
            self._stop = self._stop or why

    def expect(self, *, files: int, bytes: int | None) -> None:
        with self._lock:
            self._files, self._total = files, bytes

    def advance(self, bytes: int) -> None:
        with self._lock:
            self._done_bytes += bytes

    def file_done(
        self,
        file_id: int,
        *,
        state: str,
        size: int | None,
        name: str | None,
        error_code: str | None = None,
    ) -> None:
        report = FileReport(
            file_id=file_id, state=state, size=size, name=name, error_code=error_code
        )
        with self._lock:
            self._reports[file_id] = report
            self._unsent.add(file_id)

    def progress(self) -> tuple[Progress, int]:
        """Where the attempt stands, and its percentage: below 100 until it is accepted as done."""
        with self._lock:
            self._sample()
            if self._total:
                share = self._done_bytes / self._total
            else:
                share = len(self._reports) / self._files if self._files else 0.0
            self._percent = max(self._percent, min(99, int(share * 100)))
            progress = Progress(
                processed_files=len(self._reports),
                total_bytes=self._total,
                processed_bytes=self._done_bytes,
                seconds_remaining=self._remaining(),
            )
            return progress, self._percent

    def take_reports(self) -> list[FileReport]:
        """The files done since the last call."""
        with self._lock:
            reports = [self._reports[file_id] for file_id in self._unsent]
            self._unsent.clear()
            return reports

    def all_reports(self) -> list[FileReport]:
        """Every file done, for the last word on the attempt."""
        with self._lock:
            return list(self._reports.values())

    def give_back(self, reports: list[FileReport]) -> None:
        """Reports that could not be stored: they are taken again next time."""
        with self._lock:
            self._unsent.update(report.file_id for report in reports)

    def _sample(self) -> None:
        then, before = self._sampled
        elapsed = self._clock() - then
        if elapsed < 0.5:
            return
        newest = (self._done_bytes - before) / elapsed
        self._rate = newest if self._rate is None else self._rate + _NEWEST * (newest - self._rate)
        self._sampled = (then + elapsed, self._done_bytes)

    def _remaining(self) -> float | None:
        if not self._rate or self._total is None or self._clock() - self._started < _SETTLING:
            return None
        return max(0.0, (self._total - self._done_bytes) / self._rate)
