"""Shows the progress of jobs and transfers: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from .job import Job
from .transfer import OnProgress

#: Columns of a terminal below which the bar is short, so that the details fit beside it.
NARROW = 80

_COLORS = {"completed": "green", "failed": "red", "cancelled": "yellow", "expired": "yellow"}


def follow(console: Console, jobs: Iterable[Job]) -> Job:
    """Show every snapshot of a job. Return the last one."""
    with _bar(console) as bar:
        task = bar.add_task("[cyan]waiting", total=100, details="")
        lines = _LineLog(console)
        for job in jobs:
            bar.update(task, description=_state(job), completed=job.progress, details=details(job))
            lines.show(job.status, job.progress, details(job))
    return job


@contextmanager
def fetching(console: Console) -> Iterator[OnProgress]:
    """Yield a callback that shows the progress of a transfer."""
    with _bar(console) as bar:
        task = bar.add_task("[cyan]download", total=100, details="")
        lines = _LineLog(console)
        speed = _Speed()

        def show(done: int, size: int) -> None:
            percent = 100 * done // size if size else 100
            amount = f"{size_text(done)} of {size_text(size)}{speed.text(done)}"
            bar.update(task, completed=percent, details=amount)
            lines.show("download", percent, amount)

        yield show


class _Speed:
    """The average speed of a transfer in this call, without bytes of an earlier one."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: int | None = None

    def text(self, done: int) -> str:
        """Return the speed as text; an empty one until it can be measured."""
        seconds = time.monotonic() - self._started
        if self._first is None:
            self._first = done
        if seconds < 0.2 or done == self._first:
            return ""
        return f", {size_text(round((done - self._first) / seconds))}/s"


def details(job: Job) -> str:
    """Return details about a job, without its state and its percentage."""
    match job.status:
        case "queued" if job.retry_at and job.error:
            return f"attempt {job.attempt} of {job.max_attempts} failed, retrying: {job.error}"
        case "queued" if job.retry_at:
            return "a service is unavailable, trying again"
        case "queued":
            return ", ".join(_waiting(job))
        case "failed":
            return f"{job.error} ({job.error_code})"
        case "completed":
            return ", ".join(_archive(job))
        case "processing":
            return " · ".join(_amounts(job))
    return ""


def missing_text(job: Job) -> str:
    """Return how many files the archive lacks, as the start of a sentence."""
    verb = "is" if job.missing_files == 1 else "are"
    total = job.total_files or job.missing_files
    return f"{job.missing_files} of {total} files {verb} missing"


def dead_letter_line(letter: Mapping[str, Any]) -> str:
    """Return a dead letter as one line: the job, its attempts, why it failed."""
    job, attempts = letter["job"], len(letter["attempts"])
    times = "once" if attempts == 1 else f"{attempts} times"
    return f"{job['jobId']}  tried {times:<8}  {job['error']} ({job['errorCode']})"


def file_line(file: Mapping[str, Any]) -> str:
    """Return a file of a job as one line: ID, state, size, name or error."""
    size = "" if file["size"] is None else size_text(file["size"])
    return f"{file['file_id']:>10}  {file['state']:<8} {size:>9}  {_file_text(file)}".rstrip()


def size_text(size: int) -> str:
    """Format a number of bytes in decimal units, as the download page does."""
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    amount = float(size)
    for unit in ("KB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 1000 or unit == "TB":
            break
    return f"{amount:.1f} {unit}" if amount < 100 else f"{amount:.0f} {unit}"


def duration_text(seconds: float) -> str:
    """Format a duration. It is rounded, because it is usually an estimate."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _file_text(file: Mapping[str, Any]) -> str:
    if file["errorCode"]:
        return f"{file['error']} ({file['errorCode']})"
    return str(file.get("path") or file["fileName"] or "")


def _waiting(job: Job) -> Iterator[str]:
    position = job.queue_position
    yield f"position {position} in the queue" if position and position > 1 else "starting soon"
    if job.estimated_seconds_remaining is not None:
        yield f"about {duration_text(job.estimated_seconds_remaining)} left"


def _archive(job: Job) -> Iterator[str]:
    yield str(job.file_name)
    yield size_text(job.file_size or 0)
    if job.missing_files:
        yield missing_text(job)


def _amounts(job: Job) -> Iterator[str]:
    if job.estimated_seconds_remaining is not None:
        yield f"{duration_text(job.estimated_seconds_remaining)} left"
    if job.total_files:
        yield f"{job.processed_files or 0} of {job.total_files} files"
    if job.total_bytes:
        yield f"{size_text(job.processed_bytes or 0)} of {size_text(job.total_bytes)}"


def _state(job: Job) -> str:
    return f"[{_COLORS.get(job.status, 'cyan')}]{job.status}"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=32 if console.width >= NARROW else 8),
        TextColumn("{task.percentage:>3.0f}%"),
        # The rest of the line; shortened rather than wrapped.
        TextColumn(
            "{task.fields[details]}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        TimeElapsedColumn(),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )


class _LineLog:
    """Prints a line for each change of state and each 10%, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[str, int] | None = None

    def show(self, state: str, percent: int, detail: str) -> None:
        step = (state, percent // 10)
        if not self._console.is_terminal and step != self._last:
            self._last = step
            self._console.print(Text(f"{state:<10} {percent:>3}%  {detail}"), soft_wrap=True)
