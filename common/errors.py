"""The errors of the whole product, in one class hierarchy.

Nothing here knows HTTP: ``api/problems.py`` maps the classes to status codes, and the worker maps
them to the outcome of an attempt.
"""

from __future__ import annotations

from typing import ClassVar


class LonghaulError(Exception):
    """Base class of all errors that Longhaul raises deliberately.

    ``code`` is stable and visible to clients; ``retryable`` says whether the same call may succeed
    later. The default message of a class is the first line of its docstring. Clients see messages,
    so they never contain an internal address or a secret.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])
        #: Seconds after which the caller may try again, where that is known.
        self.retry_after = retry_after
        #: Whether a source of files failed, and not the storage for archives.
        self.from_source = False
        #: Whether all requests of the job to this service were failing when this one was given up.
        self.all_requests_failed = False
        #: The file that could not be read, and the HTTP status of its source, where they are known.
        self.file_id: int | None = None
        self.http_status: int | None = None

    @property
    def message(self) -> str:
        return str(self)


class DownloadError(LonghaulError):
    """The download failed."""

    code = "PROCESSING_ERROR"
    retryable = True


class ProcessingError(DownloadError):
    """An unexpected error occurred while building the archive."""


class NetworkError(DownloadError):
    """The connection to a file source or to the storage was lost."""

    code = "NETWORK_ERROR"


class TemporaryUnavailable(DownloadError):
    """A file source is temporarily unavailable."""

    code = "TEMPORARY_UNAVAILABLE"


class SourceRateLimited(DownloadError):
    """A file source is rate limiting requests."""

    code = "RATE_LIMIT"


class StorageError(DownloadError):
    """The object storage could not read or write the data."""

    code = "STORAGE_ERROR"


class DownloadTimeout(DownloadError):
    """The download took too long, or a file source was too slow."""

    code = "DOWNLOAD_TIMEOUT"


class DeadlineExceeded(DownloadTimeout):
    """The download took too long."""


class WorkerLost(DownloadError):
    """The worker that was processing this job stopped unexpectedly."""

    code = "WORKER_LOST"


class PermanentDownloadError(DownloadError):
    """The download failed, and trying again will not help."""

    retryable = False


class FileNotFound(PermanentDownloadError):
    """A requested file does not exist."""

    code = "FILE_NOT_FOUND"


class InvalidFileId(PermanentDownloadError):
    """A file ID is outside the allowed range."""

    code = "INVALID_FILE_ID"


class SourceForbidden(PermanentDownloadError):
    """A file source denied access to a file."""

    code = "PERMISSION_DENIED"


class FileForbidden(PermanentDownloadError):
    """You don't have permission to download this file."""

    code = "FILE_FORBIDDEN"


class AuthorizationUnavailable(DownloadError):
    """The service that decides which files you may have is unavailable."""

    code = "TEMPORARY_UNAVAILABLE"


class FileTooLarge(PermanentDownloadError):
    """A file, or the download as a whole, exceeds the size limit."""

    code = "FILE_TOO_LARGE"


class FileChanged(PermanentDownloadError):
    """A file changed while it was being read."""

    code = "FILE_CHANGED"


class Interrupted(LonghaulError):
    """The running attempt has to stop. This is not a failure of the job."""

    code = "INTERRUPTED"


class CancelRequested(Interrupted):
    """The job was cancelled while it was running."""


class RunsAlone(LonghaulError):
    """The job was lost with its workers repeatedly, and runs only where no other job does."""

    code = "RUNS_ALONE"
    retryable = True

    def __init__(self, reservations: int) -> None:
        """``reservations``: how many workers the job has been reserved for, one after another."""
        super().__init__()
        self.reservations = reservations


class LeaseLost(Interrupted):
    """Another worker holds the job now, so this one must not write to it."""


class Draining(Interrupted):
    """The worker is shutting down and returns the job without using up an attempt."""


class ResumableDeadline(Interrupted):
    """The attempt reached its deadline with progress; the next one continues its uploads."""


class DependencyUnavailable(Interrupted):
    """A service that the job needs is unavailable. The job waits without using up an attempt."""


class BackendUnavailable(LonghaulError):
    """The service is temporarily unavailable. Try again in a few seconds."""

    code = "BACKEND_UNAVAILABLE"
    retryable = True


class JobNotFound(LonghaulError):
    """Job not found."""

    code = "JOB_NOT_FOUND"


class LinkNotFound(LonghaulError):
    """Link not found."""

    code = "LINK_NOT_FOUND"


class LinkGone(LonghaulError):
    """This link has expired, was revoked, or has reached its maximum number of downloads."""

    code = "LINK_GONE"


class DeliveryNotFound(LonghaulError):
    """Webhook not found. Webhooks are kept for four days after their last attempt."""

    code = "DELIVERY_NOT_FOUND"


class TooManyLinks(LonghaulError):
    """This download already has the maximum number of links. Use one of them."""

    code = "TOO_MANY_LINKS"


class JobConflict(LonghaulError):
    """The job's current state does not allow this action."""

    code = "JOB_CONFLICT"


class IdempotencyKeyReused(LonghaulError):
    """This Idempotency-Key was already used for a different request. Use a new key."""

    code = "IDEMPOTENCY_KEY_REUSED"


class TooManyActiveJobs(LonghaulError):
    """You have too many downloads in progress. Wait for one or cancel one."""

    code = "TOO_MANY_ACTIVE_JOBS"
    retryable = True


class QuotaExceeded(LonghaulError):
    """You have used up your plan's quota for today. It resets at midnight UTC."""

    code = "QUOTA_EXCEEDED"
    retryable = True


class RateLimited(LonghaulError):
    """Too many requests. Wait a moment, then try again."""

    code = "RATE_LIMIT_EXCEEDED"
    retryable = True


class QueueFull(LonghaulError):
    """The queue is full. Try again later."""

    code = "QUEUE_FULL"
    retryable = True
