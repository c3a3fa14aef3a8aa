"""The link between a running attempt and the heartbeat: progress, and the order to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from common.errors import DeadlineExceeded, LonghaulError
from common.jobs.model import FileReport, Progress

#: Seconds of transfer before the remaining time is estimated.
_MIN_SAMPLE: Final = 2.0
#: Weight of the newest interval in the moving average of the rate.
_NEWEST_WEIGHT: Final = 0.3


class Control(Protocol):
    """The archive engine's view of the attempt that it works for. Thread safe."""

    def check(self) -> None:
        """Raise ``Interrupted`` or ``DownloadTimeout`` if the work must stop. Call it often."""

    def extend_deadline(self) -> None:
        """Let the attempt take as long again from now on."""

    def expect(self, *, files: int, bytes: int | None) -> None:
        """Set the totals once they are known; ``bytes`` counts source content."""

    def advance(self, bytes: int) -> None:
        """Add ``bytes`` of source content to the progress."""

    def file_done(
        self,
        file_id: int,
        *,
        state: str,
        size: int | None,
        name: str | None,
        error_code: str | None = None,
        error: str | None = None,
        copy: int = 0,
    ) -> None:
        """Report that a file is ``done``, ``missing`` or ``failed``, and why.

        ``copy``: which occurrence of the file in the request this is.
        """

    def defer(self, step: Callable[[], None]) -> None:
        """Call ``step`` once the job is completed, so that its client need not wait for it."""


class AttemptControl:
    """The ``Control`` of one attempt; the heartbeat thread reads it."""

    def __init__(self, *, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``deadline``: seconds that the attempt may take."""
        self._clock = clock
        self._started = clock()
        self._max_duration = deadline
        self._deadline = self._started + deadline
        self._lock = threading.Lock()
        self._stop_reason: LonghaulError | None = None
        self._files: int | None = None
        self._total: int | None = None
        self._done_bytes = 0
        self._percent = 0
        self._rate: float | None = None
        self._last_sample = (self._started, 0)
        #: By file id and copy.
        self._reports: dict[tuple[int, int], FileReport] = {}
        self._unsent: set[tuple[int, int]] = set()
        #: What is left to do once the job is completed.
        self.deferred: list[Callable[[], None]] = []

    def check(self) -> None:
        if self._stop_reason is not None:
            raise self._stop_reason
        if self._clock() > self._deadline:
            raise DeadlineExceeded

    def extend_deadline(self) -> None:
        self._deadline = self._clock() + self._max_duration

    def stop(self, reason: LonghaulError) -> None:
        """Make the next ``check`` raise ``reason``, unless there is an earlier one."""
        with self._lock:
            self._stop_reason = self._stop_reason or reason

    def expect(self, *, files: int, bytes: int | None) -> None:
        with self._lock:
            self._files, self._total = files, bytes
            # A build that starts again counts from zero.
            self._done_bytes, self._last_sample = 0, (self._clock(), 0)

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
        error: str | None = None,
        copy: int = 0,
    ) -> None:
        report = FileReport(
            file_id=file_id,
            copy=copy,
            state=state,
            size=size,
            name=name,
            error_code=error_code,
            error=error,
        )
        with self._lock:
            self._reports[file_id, copy] = report
            self._unsent.add((file_id, copy))

    def defer(self, step: Callable[[], None]) -> None:
        self.deferred.append(step)

    def progress(self) -> tuple[Progress, int]:
        """Return the progress and its percentage, which stays below 100 until the job completes."""
        with self._lock:
            self._sample()
            if self._total:
                fraction = self._done_bytes / self._total
            else:
                fraction = len(self._reports) / self._files if self._files else 0.0
            self._percent = max(self._percent, min(99, int(fraction * 100)))
            progress = Progress(
                processed_files=len(self._reports),
                total_bytes=self._total,
                processed_bytes=self._done_bytes,
                seconds_remaining=self._seconds_remaining(),
            )
            return progress, self._percent

    def take_reports(self) -> list[FileReport]:
        """Return the reports since the last call."""
        with self._lock:
            reports = [self._reports[key] for key in self._unsent]
            self._unsent.clear()
            return reports

    def all_reports(self) -> list[FileReport]:
        """Return every report, for the end of the attempt."""
        with self._lock:
            return list(self._reports.values())

    def restore_reports(self, reports: list[FileReport]) -> None:
        """Let the next ``take_reports`` return these reports, which could not be stored."""
        with self._lock:
            self._unsent.update((report.file_id, report.copy) for report in reports)

    def _sample(self) -> None:
        sampled_at, sampled_bytes = self._last_sample
        elapsed = self._clock() - sampled_at
        if elapsed < 0.5:
            return
        newest = (self._done_bytes - sampled_bytes) / elapsed
        change = 0.0 if self._rate is None else newest - self._rate
        self._rate = newest if self._rate is None else self._rate + _NEWEST_WEIGHT * change
        self._last_sample = (sampled_at + elapsed, self._done_bytes)

    def _seconds_remaining(self) -> float | None:
        now = self._clock()
        if not self._rate or self._total is None or now - self._started < _MIN_SAMPLE:
            return None
        remaining = max(0.0, (self._total - self._done_bytes) / self._rate)
        # While no bytes arrive, the rate approaches zero, and the estimate exceeds every limit.
        return remaining if now + remaining <= self._deadline else None
