"""Events of a job. Each carries the whole snapshot with its version, never a difference."""

from __future__ import annotations

from typing import Final

import orjson

from common.jobs.model import Job
from common.jobs.transitions import JobState

#: Event names by state. A queued job that waits for a retry has the event ``retrying``.
_NAMES: Final = {
    JobState.QUEUED: "progress",
    JobState.PROCESSING: "progress",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}


def event_name(job: Job) -> str:
    """Return the name of the event that carries this snapshot."""
    if job.status is JobState.QUEUED and job.retry_at is not None:
        return "retrying"
    return _NAMES[job.status]


def decode(message: bytes | str) -> Job:
    """Return the job in a published message or a state log entry: a JSON object of strings."""
    return Job.from_fields(orjson.loads(message))
