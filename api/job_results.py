"""Why a job has no archive to respond with."""

from __future__ import annotations

from api.dependencies import deps
from api.errors import ArchiveDeleted, JobCancelled, JobExpired, JobFailed, JobNotReady
from api.responses import retry_after
from common.errors import LonghaulError
from common.jobs.model import Job
from common.jobs.transitions import JobState


def no_archive(job: Job) -> LonghaulError:
    """Return the error that says why the job has no archive."""
    presented = deps().presenter.present(job)
    if job.status is JobState.FAILED:
        return JobFailed(presented, job.failure.message if job.failure else "")
    if job.status is JobState.CANCELLED:
        return JobCancelled(presented)
    if job.archive_deleted_at is not None:
        return ArchiveDeleted(presented)
    if job.terminal:
        return JobExpired(presented)
    return JobNotReady(presented, retry_after=float(retry_after()))
