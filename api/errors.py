"""What only the HTTP side can refuse, as part of the one tree of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from common.errors import DownloadError, LonghaulError


class RequestError(LonghaulError):
    """The request cannot be served as it is."""

    code = "BAD_REQUEST"


class ValidationFailed(RequestError):
    """The request is not as the document of this API describes it: see `errors`."""

    code = "VALIDATION_ERROR"

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        """``errors``: member or parameter -> what is wrong with it."""
        super().__init__()
        self.errors = errors


class Unauthorized(RequestError):
    """Who calls cannot be told."""

    code = "UNAUTHORIZED"

    def __init__(self, message: str = "", *, invalid: bool = False) -> None:
        """``invalid``: there was a token, but it is not good (RFC 6750, 3.1)."""
        super().__init__(message)
        self.challenge = 'Bearer error="invalid_token"' if invalid else "Bearer"


class Forbidden(RequestError):
    """This is another's, or for operators only."""

    code = "FORBIDDEN"


class HistoryDisabled(RequestError):
    """No history is kept here: DATABASE_URL is not set."""

    code = "HISTORY_OFF"


class MalformedJson(RequestError):
    """The body is not a JSON document in UTF-8."""

    code = "MALFORMED_JSON"


class UnsupportedMediaType(RequestError):
    """The body has to be application/json."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class JobAnswer(LonghaulError):
    """The job's state forbids this answer; the problem shows the job."""

    def __init__(
        self, job: Mapping[str, Any], message: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        #: The job as the client sees it.
        self.job = job


class JobNotReady(JobAnswer):
    """The archive is not finished yet."""

    code = "JOB_NOT_READY"
    retryable = True


class JobFailed(JobAnswer):
    """The job failed, so there is no archive."""

    code = "JOB_FAILED"


class JobCancelled(JobAnswer):
    """The job was cancelled, so there is no archive."""

    code = "JOB_CANCELLED"


class JobExpired(JobAnswer):
    """The archive has expired and was deleted."""

    code = "JOB_EXPIRED"


def _below(kind: type[LonghaulError]) -> list[type[LonghaulError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _below(child))]


#: What a failure code means, in a sentence.
FAILURE_MESSAGES: Final = {
    kind.code: (kind.__doc__ or "").splitlines()[0] for kind in _below(DownloadError)
}
