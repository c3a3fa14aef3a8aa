"""One tree of errors. Each class has a stable ``code`` and says whether trying again may help.

No HTTP here: ``api/problems.py`` maps classes to status codes, the worker maps them to a job's end.
"""

from __future__ import annotations

from typing import ClassVar


class LonghaulError(Exception):
    """Base of everything this product raises on purpose.

    ``code`` is what clients see; ``retryable`` says whether the same call may succeed later.
    The message is written for the caller: it never holds an internal address or a secret.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])
        #: Seconds after which the caller may try again, where that is known.
        self.retry_after = retry_after
        #: Whether a source of files failed, and not the storage for archives.
        self.from_source = False

    @property
    def message(self) -> str:
        return str(self)


class DownloadError(LonghaulError):
    """The download of a job failed."""

    code = "PROCESSING_ERROR"
    retryable = True


class ProcessingError(DownloadError):
    """Something unexpected went wrong while the archive was built."""


class NetworkError(DownloadError):
    """The connection to a source or to the storage broke."""

    code = "NETWORK_ERROR"


class TemporaryUnavailable(DownloadError):
    """A source is unavailable for the moment."""

    code = "TEMPORARY_UNAVAILABLE"


class SourceRateLimited(DownloadError):
    """A source gets too many requests at the moment."""

    code = "RATE_LIMIT"


class StorageError(DownloadError):
    """The object storage could not take or give the data."""

    code = "STORAGE_ERROR"


class DownloadTimeout(DownloadError):
    """The job ran past its deadline, or a source stayed below the minimum rate."""

    code = "DOWNLOAD_TIMEOUT"


class WorkerLost(DownloadError):
    """The worker that held the job's lease died or went silent."""

    code = "WORKER_LOST"


class PermanentDownloadError(DownloadError):
    """A failure that no further attempt can mend."""

    retryable = False


class FileNotFound(PermanentDownloadError):
    """A requested file does not exist."""

    code = "FILE_NOT_FOUND"


class InvalidFileId(PermanentDownloadError):
    """A file id is outside of the catalogue's range."""

    code = "INVALID_FILE_ID"


class SourceForbidden(PermanentDownloadError):
    """A source refused access to a file."""

    code = "PERMISSION_DENIED"


class FileTooLarge(PermanentDownloadError):
    """A file, or all of them together, is larger than what is allowed."""

    code = "FILE_TOO_LARGE"


class FileChanged(PermanentDownloadError):
    """A source file was replaced while it was being read."""

    code = "FILE_CHANGED"


class Interrupted(LonghaulError):
    """The running attempt has to stop; this is no failure of the job."""

    code = "INTERRUPTED"


class CancelRequested(Interrupted):
    """The user cancelled the job while it ran."""


class LeaseLost(Interrupted):
    """Another worker holds the job by now: this one must not write any more."""


class Draining(Interrupted):
    """The worker shuts down and hands the job back without costing an attempt."""


class DependencyUnavailable(Interrupted):
    """A service that the job needs is away: the job waits without losing an attempt."""


class BackendUnavailable(LonghaulError):
    """A service that this one needs cannot be reached at the moment."""

    code = "BACKEND_UNAVAILABLE"
    retryable = True


class JobNotFound(LonghaulError):
    """No such job is known."""

    code = "JOB_NOT_FOUND"


class JobConflict(LonghaulError):
    """The job's state does not allow this."""

    code = "JOB_CONFLICT"


class IdempotencyKeyReused(LonghaulError):
    """This Idempotency-Key was used before with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"


class TooManyActiveJobs(LonghaulError):
    """The caller has as many unfinished jobs as are allowed."""

    code = "TOO_MANY_ACTIVE_JOBS"
    retryable = True


class RateLimited(LonghaulError):
    """Too many requests in this minute."""

    code = "RATE_LIMIT_EXCEEDED"
    retryable = True


class QueueFull(LonghaulError):
    """The queue holds as many jobs as it may."""

    code = "QUEUE_FULL"
    retryable = True
