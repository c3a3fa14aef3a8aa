"""What operators search jobs by; the job store and the history apply the same filter."""

from __future__ import annotations

from dataclasses import dataclass

from common.jobs.model import Job, Priority
from common.jobs.transitions import JobState


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Conditions that must all be met. None and empty: any job meets it."""

    user: str | None = None
    statuses: frozenset[JobState] | None = None
    error_code: str | None = None
    priorities: frozenset[Priority] | None = None
    #: Milliseconds since 1970: created at this time or later.
    created_from: int | None = None
    #: Milliseconds since 1970: created before this time.
    created_before: int | None = None
    #: How the job's ID begins: lowercase hexadecimal digits and hyphens.
    id_prefix: str = ""

    def matches(self, job: Job) -> bool:
        """Return whether the job meets the conditions."""
        return (
            self.user in (None, job.user)
            and (self.statuses is None or job.status in self.statuses)
            and self.error_code in (None, job.failure.code if job.failure else "")
            and (self.priorities is None or job.priority in self.priorities)
            and (self.created_from is None or job.created_at >= self.created_from)
            and (self.created_before is None or job.created_at < self.created_before)
            and job.id.startswith(self.id_prefix)
        )
