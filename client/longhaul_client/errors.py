"""The exceptions that the client raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .job import Job


class LonghaulClientError(Exception):
    """Base class of the client's exceptions."""


class InvalidSetting(LonghaulClientError, ValueError):
    """The URL, the token, the user or a proxy cannot be used. The message never contains them."""


class Unreachable(LonghaulClientError):
    """The API did not respond, or the response is not one of this API."""


class ApiProblem(LonghaulClientError):
    """The API rejected the request with a problem document (RFC 9457)."""

    def __init__(self, status: int, body: dict[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.body = body
        self.code = str(body.get("code", f"HTTP_{status}"))
        #: Whether the request was sent before, and may have worked although no response arrived.
        self.after_lost_response = False
        self.request_id: str | None = body.get("requestId")
        #: Seconds to wait before the next request, if the API specified them.
        self.retry_after = retry_after
        detail = str(body.get("detail") or body.get("title") or f"HTTP {status}")
        super().__init__(" ".join([detail, *_invalid_fields(body)]))


class JobUnsuccessful(LonghaulClientError):
    """The job ended without an archive: failed, cancelled or expired."""

    def __init__(self, job: Job) -> None:
        self.job = job
        reason = f": {job.error} ({job.error_code})" if job.error else ""
        super().__init__(f"job {job.job_id}: {job.status}{reason}")


class TransferFailed(LonghaulClientError):
    """The archive could not be downloaded completely."""


class ChecksumMismatch(TransferFailed):
    """The downloaded archive does not have the checksum that the API reported."""


def _invalid_fields(body: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with each field of a rejected request."""
    errors = body.get("errors")
    if isinstance(errors, dict):
        for name, messages in errors.items():
            yield f"{name}: {' '.join(map(str, messages))}"
