"""Responding with the archive of a job, by the job's own URL or by a link."""

from __future__ import annotations

from flask import Response

from api.dependencies import deps
from api.errors import ArchiveDeleted, JobCancelled, JobExpired, JobFailed, JobNotReady
from api.responses import retry_after
from common.errors import LonghaulError
from common.jobs.model import Job
from common.jobs.transitions import JobState


def redirect_to(url: str) -> Response:
    """Return a redirect to a signed URL."""
    response = Response(status=302)
    response.location = url
    response.autocorrect_location_header = False
    return response


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
