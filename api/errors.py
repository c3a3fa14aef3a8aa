"""Errors that only the HTTP API raises."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from common.errors import (
    BackendUnavailable,
    DownloadError,
    FileForbidden,
    LonghaulError,
    QuotaExceeded,
    RateLimited,
)

#: Files that the message of an error names. The problem document contains all of them.
MAX_NAMED_FILES: Final = 10


class RequestError(LonghaulError):
    """The request cannot be processed."""

    code = "BAD_REQUEST"


class ValidationFailed(RequestError):
    """Some fields are invalid."""

    code = "VALIDATION_ERROR"

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        """``errors``: what is wrong, by field or parameter."""
        super().__init__()
        self.errors = errors


class Unauthorized(RequestError):
    """Authentication required."""

    code = "UNAUTHORIZED"

    def __init__(self, message: str = "", *, invalid: bool = False) -> None:
        """``invalid``: the request contains a token, but it is not valid (RFC 6750, 3.1)."""
        super().__init__(message)
        # A scheme alone is not a challenge: it has at least one parameter (RFC 6750, 3).
        self.challenge = 'Bearer error="invalid_token"' if invalid else 'Bearer realm="longhaul"'


class Forbidden(RequestError):
    """You don't have permission to do this."""

    code = "FORBIDDEN"


class FilesForbidden(RequestError):
    """You don't have permission to download these files."""

    code = FileForbidden.code

    def __init__(self, file_ids: Collection[int]) -> None:
        self.file_ids = sorted(file_ids)
        named = ", ".join(map(str, self.file_ids[:MAX_NAMED_FILES]))
        more = len(self.file_ids) - MAX_NAMED_FILES
        if more > 0:
            named += f" and {more} more"
        super().__init__(f"You don't have permission to download these files: {named}.")


class PriorityNotAllowed(RequestError):
    """Your plan does not allow this priority."""

    code = "PRIORITY_NOT_ALLOWED"


class DailyQuotaExceeded(QuotaExceeded):
    """You have used up your plan's quota for today. It resets at midnight UTC."""

    def __init__(self, *, resets_at: int, retry_after: float) -> None:
        """``resets_at``: milliseconds since 1970."""
        super().__init__(retry_after=retry_after)
        self.resets_at = resets_at


class HostNotAllowed(RequestError):
    """This server does not respond to this host name. Add it to ALLOWED_HOSTS."""

    code = "HOST_NOT_ALLOWED"


class HistoryDisabled(RequestError):
    """History is disabled. Set DATABASE_URL to enable it."""

    code = "HISTORY_OFF"


class ArchiveDeliveryUnavailable(RequestError):
    """Archives are unavailable: DELIVERY=proxy requires nginx with STORAGE_URL in front of it."""

    code = "DELIVERY_UNAVAILABLE"


class WebhookSecretsDisabled(RequestError):
    """Webhook secrets are disabled. Set WEBHOOK_SECRET to enable them."""

    code = "WEBHOOK_SECRET_OFF"


class MalformedJson(RequestError):
    """The body is not valid JSON in UTF-8."""

    code = "MALFORMED_JSON"


class UnsupportedMediaType(RequestError):
    """Content-Type must be application/json."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class JobStateError(LonghaulError):
    """The state of the job does not allow this. The problem document contains the job."""

    def __init__(
        self, job: Mapping[str, Any], message: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        #: The job as the client sees it.
        self.job = job


class JobNotReady(JobStateError):
    """The archive is not ready yet."""

    code = "JOB_NOT_READY"
    retryable = True


class JobFailed(JobStateError):
    """The job failed, so there is no archive."""

    code = "JOB_FAILED"


class JobCancelled(JobStateError):
    """The job was cancelled, so there is no archive."""

    code = "JOB_CANCELLED"


class JobExpired(JobStateError):
    """The archive has expired."""

    code = "JOB_EXPIRED"


class ArchiveDeleted(JobStateError):
    """The archive was deleted."""

    code = "ARCHIVE_DELETED"


class TooManyStreams(RateLimited):
    """You have too many live streams open. Close one, then try again."""

    code = "TOO_MANY_STREAMS"


class TooManyWaitingRequests(RateLimited):
    """You have too many requests waiting for jobs. Wait for one, or poll without waiting."""

    code = "TOO_MANY_WAITING_REQUESTS"


class WebSocketVersionUnsupported(RequestError):
    """Sec-WebSocket-Version must be 13."""

    code = "UPGRADE_REQUIRED"
    #: Headers of the response (RFC 6455, 4.2.2; RFC 9110, 15.5.22).
    headers: Final = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
    }


class ServerFull(BackendUnavailable):
    """This server has no capacity for more live streams. Try again in a few seconds."""


def _subclasses(kind: type[LonghaulError]) -> list[type[LonghaulError]]:
    """Return ``kind`` and all classes derived from it."""
    return [kind, *(found for child in kind.__subclasses__() for found in _subclasses(child))]


#: What a failure code of a job means, in a sentence.
FAILURE_MESSAGES: Final = {
    kind.code: (kind.__doc__ or "").splitlines()[0] for kind in _subclasses(DownloadError)
}
