"""Shows the progress of jobs and transfers: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from .job import Job
from .transfer import OnProgress

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

        def show(done: int, size: int) -> None:
            percent = 100 * done // size if size else 100
            amount = f"{size_text(done)} of {size_text(size)}"
            bar.update(task, completed=percent, details=amount)
            lines.show("download", percent, amount)

        yield show


def details(job: Job) -> str:
    """Return details about a job, without its state and its percentage."""
    match job.status:
        case "queued" if job.retry_at:
            return f"attempt {job.attempt} of {job.max_attempts} failed, retrying: {job.error}"
        case "queued" if job.queue_position is not None:
            return f"{job.queue_position} ahead" if job.queue_position else "next in line"
        case "failed":
            return f"{job.error} ({job.error_code})"
        case "completed":
            return f"{job.file_name}, {size_text(job.file_size or 0)}"
        case "processing":
            return " · ".join(_amounts(job))
    return ""


def dead_letter_line(letter: Mapping[str, Any]) -> str:
    """Return a dead letter as one line: the job, its attempts, why it failed."""
    job, attempts = letter["job"], len(letter["attempts"])
    times = "once" if attempts == 1 else f"{attempts} times"
    return f"{job['jobId']}  tried {times:<8}  {job['error']} ({job['errorCode']})"


def size_text(size: int) -> str:
    """Format a number of bytes in binary units."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _amounts(job: Job) -> Iterator[str]:
    if job.total_files:
        yield f"{job.processed_files or 0} of {job.total_files} files"
    if job.total_bytes:
        yield f"{size_text(job.processed_bytes or 0)} of {size_text(job.total_bytes)}"
    if job.estimated_seconds_remaining is not None:
        yield f"{job.estimated_seconds_remaining:.0f} s left"


def _state(job: Job) -> str:
    return f"[{_COLORS.get(job.status, 'cyan')}]{job.status}"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[details]}", markup=False),
        TimeElapsedColumn(),
        console=console,
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
