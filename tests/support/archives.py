"""Helpers for tests of the archive engine."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from common.jobs.model import OnMissing
from worker.archive import BuildRequest


@dataclass
class RecordingControl:
    """A control that records reports, and raises ``stop_with`` if it is set."""

    stop_with: BaseException | None = None
    files: int | None = None
    total: int | None = None
    done: int = 0
    #: By file id; of a file's further paths by the id and the number of the copy.
    reports: dict[Any, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        if self.stop_with is not None:
            raise self.stop_with

    def extend_deadline(self) -> None:
        return

    def expect(self, *, files: int, bytes: int | None) -> None:
        self.files, self.total, self.done = files, bytes, 0

    def advance(self, bytes: int) -> None:
        with self.lock:
            self.done += bytes

    def defer(self, step: Callable[[], None]) -> None:
        step()

    def file_done(self, file_id: int, *, copy: int = 0, **report: Any) -> None:
        self.reports[(file_id, copy) if copy else file_id] = report


def make_request(file_ids: list[int], **changes: Any) -> BuildRequest:
    """Return a build request with defaults."""
    values: dict[str, Any] = {
        "job_id": "11111111-2222-4333-8444-555555555555",
        "fencing_token": 1,
        "file_ids": tuple(file_ids),
        "file_name": None,
        "on_missing": OnMissing.FAIL,
        "bucket": "archives",
        "direct_single_file": False,
        "max_bytes": None,
    }
    return BuildRequest(**{**values, **changes})


def contents(archive: bytes) -> dict[str, bytes]:
    """Return the bytes of every member by name, after zipfile has verified them."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert len(set(opened.namelist())) == len(opened.namelist())
        return {name: opened.read(name) for name in opened.namelist()}
