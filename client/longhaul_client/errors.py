"""What can go wrong for a caller of the client, each case a class of its own."""

from __future__ import annotations

from typing import Any

from .job import Job


class LonghaulClientError(Exception):
    """Base of everything the client raises on purpose."""


class Unreachable(LonghaulClientError):
    """The API could not be reached, or did not answer in a form that can be read."""


class ApiProblem(LonghaulClientError):
    """The API refused the call: its problem document (RFC 9457), member by member."""

    def __init__(self, status: int, body: dict[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.body = body
        self.code = str(body.get("code", f"HTTP_{status}"))
        self.request_id: str | None = body.get("requestId")
        #: Seconds after which the server wants to be asked again, where it said so.
        self.retry_after = retry_after
        super().__init__(str(body.get("detail") or body.get("title") or f"HTTP {status}"))


class JobUnsuccessful(LonghaulClientError):
    """The job ended without an archive: failed, cancelled or expired."""

    def __init__(self, job: Job) -> None:
        self.job = job
        reason = f": {job.error} ({job.error_code})" if job.error else ""
        super().__init__(f"job {job.job_id}: {job.status}{reason}")


class TransferFailed(LonghaulClientError):
    """The archive could not be fetched to its end."""


class ChecksumMismatch(TransferFailed):
    """The archive arrived whole, but it is not what the server built."""
