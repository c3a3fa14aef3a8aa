"""A job's change as it travels: the whole snapshot with its version, never a difference."""

from __future__ import annotations

from typing import Final

import orjson

from common.jobs.model import Job
from common.jobs.transitions import JobState

#: Name of the event that tells of a job in this state. A queued job that has run is ``retrying``.
_NAMES: Final = {
    JobState.QUEUED: "progress",
    JobState.PROCESSING: "progress",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}


def event_name(job: Job) -> str:
    """The name under which clients hear of this snapshot."""
    if job.status is JobState.QUEUED and job.retry_at is not None:
        return "retrying"
    return _NAMES[job.status]


def decode(message: bytes | str) -> Job:
    """The job in a published message or a state log entry: a JSON object of strings."""
    return Job.from_fields(orjson.loads(message))
