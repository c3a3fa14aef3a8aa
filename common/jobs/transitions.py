"""The one table of allowed transitions; the store's scripts are handed the sources from here."""

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

    # An enumeration's own hash is computed in Python, and states are looked up for every event.
    __hash__ = str.__hash__


#: What happens by itself: ``processing → queued`` is a retry or a job handed back.
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

#: What only an explicit retry by the user may start again.
RESTARTABLE: Final = frozenset({JobState.FAILED, JobState.COMPLETED})

TERMINAL: Final = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
)


def sources_of(target: JobState) -> frozenset[JobState]:
    """The states from which ``target`` may be entered without a user's explicit retry."""
    return frozenset(source for source, targets in ALLOWED.items() if target in targets)
