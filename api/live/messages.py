"""Messages to clients: a job's snapshot, encoded once per format and not once per client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from api.live import job_json, sse, websocket
from common.jobs.events import event_name
from common.jobs.model import Job
from common.jobs.presenter import iso
from common.jobs.transitions import JobState

#: A member of the first event of a stream.
CONNECTED_MEMBER: Final = ',"message":"Connected. You will receive every change of this download."'

#: Returns a job's members as clients see them.
Present = Callable[[Job], dict[str, Any]]


class StreamFormat(StrEnum):
    """The format in which a client receives messages; the value is a metric's label."""

    # The hash of an enumeration is computed in Python, and every message looks a format up.
    __hash__ = str.__hash__

    NAMED = "named"
    UNNAMED = "unnamed"
    WEBSOCKET = "websocket"


class JobMessage:
    """One snapshot with the name of its event. It is encoded when the first client needs it."""

    __slots__ = ("_data", "_encoded", "_fields", "_job", "_present", "name", "terminal", "version")

    def __init__(self, job: Job, name: str, present: Present) -> None:
        self.name = name
        self.version = job.version
        self.terminal = job.terminal
        self._job: Job | None = job
        self._fields: Mapping[str, str] = {}
        self._present = present
        self._data = ""
        self._encoded: dict[StreamFormat, bytes] = {}

    @property
    def job(self) -> Job:
        if self._job is None:
            self._job = Job.from_fields(self._fields)
        return self._job

    @property
    def progress(self) -> int:
        return self.job.progress

    def encode(self, format_: StreamFormat, *, with_id: bool = True) -> bytes:
        """Return the message as it goes over the wire; an event without ID is not resumable."""
        if not with_id:
            return self._encode(format_, with_id=False)
        encoded = self._encoded.get(format_)
        if encoded is None:
            encoded = self._encoded[format_] = self._encode(format_)
        return encoded

    def _encode(self, format_: StreamFormat, *, with_id: bool = True) -> bytes:
        if not self._data:
            now = iso(time.time_ns() // 1_000_000)
            more = CONNECTED_MEMBER if self.name == "connected" else ""
            self._data = f'{self._render_members()}{more},"timestamp":"{now}"}}'
        if format_ is StreamFormat.WEBSOCKET:
            return websocket.text(f'{{"type":"{self.name}",{self._data[1:]}')
        name = self.name if format_ is StreamFormat.NAMED else None
        version = self.version if with_id else None
        return sse.message(self._data, event=name, version=version)

    def _render_members(self) -> str:
        """Return the job as a JSON object without its closing brace."""
        return orjson.dumps(self._present(self.job)).decode()[:-1]


class RunningJobMessage(JobMessage):
    """A message about a queued or processing job, rendered from the job store's strings."""

    __slots__ = ()

    def __init__(self, fields: Mapping[str, str], name: str) -> None:
        """``fields``: those that ``job_json.can_render``."""
        self.name = name
        self.version = int(fields["version"])
        self.terminal = False
        self._job = None
        self._fields = fields
        self._data = ""
        self._encoded = {}

    def _render_members(self) -> str:
        return job_json.render_members(self._fields)


def message_from_fields(
    fields: Mapping[str, str], name: str | None, present: Present
) -> JobMessage:
    """Return a message about the job; without ``name``, it is named after the job's state."""
    if job_json.can_render(fields):
        retrying = fields["status"] == JobState.QUEUED and fields.get("retry_at")
        return RunningJobMessage(fields, name or ("retrying" if retrying else "progress"))
    job = Job.from_fields(fields)
    return JobMessage(job, name or event_name(job), present)
