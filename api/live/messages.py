"""What a client is told: a job's snapshot, made into bytes once per form and not per client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import orjson

from api.fast_path import job_json
from api.live import sse, websocket
from common.jobs.events import event_name
from common.jobs.model import Job
from common.jobs.presenter import iso
from common.jobs.transitions import JobState

#: A job as its client sees it, made anew each time.
Present = Callable[[Job], dict[str, Any]]


class Form(StrEnum):
    """How a client wants its events."""

    # An enumeration's own hash is computed in Python, and a form is looked up for every event.
    __hash__ = str.__hash__

    NAMED = "named"
    UNNAMED = "unnamed"
    WEBSOCKET = "websocket"


class JobMessage:
    """One snapshot under one name. Its JSON is made when the first client needs it."""

    __slots__ = ("_data", "_fields", "_job", "_made", "_present", "name", "terminal", "version")

    def __init__(self, job: Job, name: str, present: Present) -> None:
        self.name = name
        self.version = job.version
        self.terminal = job.terminal
        self._job: Job | None = job
        self._fields: Mapping[str, str] = {}
        self._present = present
        self._data = b""
        self._made: dict[Form, bytes] = {}

    @property
    def job(self) -> Job:
        if self._job is None:
            self._job = Job.from_fields(self._fields)
        return self._job

    def bytes_for(self, form: Form) -> bytes:
        made = self._made.get(form)
        if made is None:
            made = self._made[form] = self._make(form)
        return made

    def _make(self, form: Form) -> bytes:
        if not self._data:
            self._data = (
                f'{self._members()},"timestamp":"{iso(time.time_ns() // 1_000_000)}"}}'.encode()
            )
        if form is Form.WEBSOCKET:
            return websocket.text(b'{"type":"%b",%b' % (self.name.encode(), self._data[1:]))
        name = self.name if form is Form.NAMED else None
        return sse.message(self._data, event=name, version=self.version)

    def _members(self) -> str:
        """The job as a JSON object without its closing brace."""
        return orjson.dumps(self._present(self.job)).decode()[:-1]


class RunningJobMessage(JobMessage):
    """An event of a waiting or running job, of the store's strings."""

    __slots__ = ()

    def __init__(self, fields: Mapping[str, str], name: str) -> None:
        """``fields`` have to be fit for ``job_json.render_members``."""
        self.name = name
        self.version = int(fields["version"])
        self.terminal = False
        self._job = None
        self._fields = fields
        self._data = b""
        self._made = {}

    def _members(self) -> str:
        return job_json.render_members(self._fields)


def heard(fields: Mapping[str, str], name: str | None, present: Present) -> JobMessage:
    """An event of the store's strings; ``name``: if it is not that of the job's state."""
    if job_json.can_render(fields):
        retried = fields["status"] == JobState.QUEUED and fields.get("retry_at")
        return RunningJobMessage(fields, name or ("retrying" if retried else "progress"))
    job = Job.from_fields(fields)
    return JobMessage(job, name or event_name(job), present)
