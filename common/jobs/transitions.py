"""The only table of allowed transitions. The job store passes the source states to its scripts."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    # The hash of an Enum is computed in Python, and every event looks states up in dictionaries.
    __hash__ = str.__hash__


STATES: Final = tuple(state.value for state in JobState)

#: Without a user's explicit retry. ``processing → queued`` is an automatic retry, or a job that a
#: worker returned to the queue.
ALLOWED: Final = {
    JobState.QUEUED: frozenset({JobState.PROCESSING, JobState.CANCELLED}),
    JobState.PROCESSING: frozenset(
        {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED}
    ),
    JobState.COMPLETED: frozenset({JobState.EXPIRED}),
    JobState.FAILED: frozenset[JobState](),
    JobState.CANCELLED: frozenset[JobState](),
    JobState.EXPIRED: frozenset[JobState](),
}

#: States from which an explicit retry by the user starts the job again.
RESTARTABLE: Final = frozenset({JobState.FAILED, JobState.COMPLETED})

TERMINAL: Final = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
)


def sources_of(target: JobState) -> frozenset[JobState]:
    """Return the states from which ``target`` can be entered without an explicit retry."""
    return frozenset(source for source, targets in ALLOWED.items() if target in targets)
