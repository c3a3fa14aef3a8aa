"""The job as clients see it, the same on every transport."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from common.jobs.model import Artifact, Job
from common.jobs.transitions import JobState


class Forecast(NamedTuple):
    """When a queued job will be started and finished; None: unknown."""

    #: 1: the next to be started.
    position: int | None
    seconds_remaining: float | None


UNKNOWN: Final = Forecast(None, None)
#: Seconds. An estimate beyond is as good as none, and its time may not even be a date.
MAX_ESTIMATE: Final = 30 * 86_400


class LinkSigner(Protocol):
    """The part of the object storage that signs links."""

    def presign_get(
        self, bucket: str, key: str, *, filename: str, content_type: str, expires_in: int
    ) -> str:
        """Return a URL with which anyone can download the object for ``expires_in`` seconds."""


class JobPresenter:
    """Turns snapshots into the JSON members that clients see."""

    def __init__(
        self,
        signer: LinkSigner,
        *,
        link_ttl: int,
        clock: Callable[[], int],
        links_expire_at: Callable[[], int | None] = lambda: None,
        forecast: Callable[[Job], Forecast] = lambda _: UNKNOWN,
        result_url: Callable[[Job], str] | None = None,
        result_url_ttl: int = 0,
    ) -> None:
        """``link_ttl``: maximum validity of a link, seconds. ``clock`` returns ms since 1970.

        ``links_expire_at`` returns when the session ends that links are signed with. ``forecast``
        returns when a queued job will be finished.

        ``result_url`` returns the URL of the API's own download of a job, which is valid for
        ``result_url_ttl`` seconds. If it is set, clients get that instead of a signed link.
        """
        self._forecast = forecast
        self._links_expire_at = links_expire_at
        self._result_url = result_url
        self._result_url_ttl = result_url_ttl
        self._signer = signer
        self._link_ttl = link_ttl
        self._clock = clock

    def present(self, job: Job) -> dict[str, Any]:
        """Return the job as JSON members, with a newly signed link if it is completed.

        Signing is pure computation, without a round trip.
        """
        artifact, failure = job.artifact, job.failure
        url, expires_at = self.link(job) if artifact else (None, None)
        position, remaining, as_of = self._outlook(job)
        return {
            "jobId": job.id,
            "status": job.status.value,
            "version": job.version,
            "progress": job.progress,
            "totalFiles": job.total_files,
            "processedFiles": job.processed_files,
            "totalBytes": job.total_bytes,
            "processedBytes": job.processed_bytes,
            "missingFiles": artifact.missing_files if artifact else 0,
            "queuePosition": position,
            "estimatedSecondsRemaining": None if remaining is None else round(remaining),
            "estimatedCompletion": completion_time(remaining, as_of),
            "downloadUrl": url,
            "expiresAt": expires_at,
            "availableUntil": iso(job.expires_at) if artifact else None,
            "fileName": artifact.name if artifact else None,
            "fileSize": artifact.size if artifact else None,
            "contentType": artifact.content_type if artifact else None,
            "checksum": artifact.checksum if artifact else None,
            "error": failure.message if failure else None,
            "errorCode": failure.code if failure else None,
            "retryable": failure.retryable if failure else None,
            "retriesRemaining": job.retries_remaining if failure else None,
            "attempt": job.attempt,
            "maxAttempts": job.max_attempts,
            "retryAt": iso(job.retry_at),
            "priority": job.priority.value,
            "metadata": job.metadata,
            "downloads": job.downloads,
            "createdAt": iso(job.created_at),
            "startedAt": iso(job.started_at),
            "updatedAt": iso(job.updated_at),
            "completedAt": iso(job.completed_at),
        }

    def _outlook(self, job: Job) -> tuple[int | None, float | None, int]:
        """Return the position in the queue, the seconds remaining, and as of when in ms."""
        if not job.in_line:
            return None, sane_estimate(job.seconds_remaining), job.updated_at
        forecast = self._forecast(job)
        return forecast.position, sane_estimate(forecast.seconds_remaining), self._clock()

    def etag(self, job: Job) -> str:
        """Return the entity tag of a response that contains the job: its version, quoted.

        While other jobs are ahead in the queue, the tag also changes with their number. While there
        is a link, the tag also changes twice within the validity of the link, and with the session
        that links are signed with. So a client that gets 304 has a link that works.
        """
        if job.in_line:
            position = self._forecast(job).position or 1
            return f'"{job.version}-{position}"' if position > 1 else f'"{job.version}"'
        now = self._clock()
        if not self._link_validity(job, now):
            return f'"{job.version}"'
        period = now // max(1000, self._link_ttl * 500)
        session_end = self._links_expire_at()
        session = "" if session_end is None else f"-{session_end // 1000}"
        return f'"{job.version}-{period}{session}"'

    def link(self, job: Job) -> tuple[str | None, str | None]:
        """Return the link that clients see and its expiry, or two Nones if there is no archive."""
        if self._result_url is None:
            return self.signed_link(job)
        now = self._clock()
        validity = min(self._link_validity(job, now), self._result_url_ttl * 1000)
        if not validity:
            return None, None
        return self._result_url(job), iso(now + validity)

    def signed_link(
        self, job: Job, *, file_name: str | None = None
    ) -> tuple[str | None, str | None]:
        """Return a newly signed link and its expiry, or two Nones if there is no archive.

        The link expires with the archive and with the signing session at the latest.
        ``file_name``: the name that the archive is saved under; None: its own.
        """
        now = self._clock()
        validity = self._link_validity(job, now)
        if not validity or job.artifact is None:
            return None, None
        return self._sign(job.artifact, validity // 1000, file_name), iso(now + validity)

    def _link_validity(self, job: Job, now: int) -> int:
        """Return for how many milliseconds a link that is signed now is valid; 0: no link."""
        if job.status is not JobState.COMPLETED or job.artifact is None:
            return 0
        validity = self._link_ttl * 1000
        if job.expires_at is not None:
            validity = min(validity, job.expires_at - now)
        if (session_end := self._links_expire_at()) is not None:
            validity = min(validity, session_end - now)
        return validity if validity >= 1000 else 0

    def _sign(self, artifact: Artifact, seconds: int, file_name: str | None) -> str:
        return self._signer.presign_get(
            artifact.bucket,
            artifact.key,
            filename=file_name or artifact.name,
            content_type=artifact.content_type,
            expires_in=seconds,
        )


def sane_estimate(seconds: float | None) -> float | None:
    """Return an estimate, or None if it says nothing: it is too large, negative, or no number."""
    return seconds if seconds is not None and 0 <= seconds <= MAX_ESTIMATE else None


def completion_time(seconds_remaining: float | None, as_of: int) -> str | None:
    """Return when a job will end, as ISO 8601; ``as_of``: when that was estimated, in ms."""
    return None if seconds_remaining is None else iso(as_of + round(seconds_remaining * 1000))


def iso(ms: int | None) -> str | None:
    """Return ISO 8601 in UTC with milliseconds and ``Z``."""
    if ms is None:
        return None
    seconds, rest = divmod(ms, 1000)
    return f"{iso_seconds(seconds)}.{rest:03d}Z"


# Cached: most times repeat from one event of a job to the next, and among simultaneous jobs.
@lru_cache(maxsize=4096)
def iso_seconds(seconds: int) -> str:
    """Return ISO 8601 in UTC to the second, without ``Z``."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
