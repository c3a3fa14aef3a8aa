"""A job as its client sees it: the same on every transport."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

from common.jobs.model import Artifact, Job
from common.jobs.transitions import JobState


class LinkSigner(Protocol):
    """The part of the object storage that signs links."""

    def presign_get(
        self, bucket: str, key: str, *, filename: str, content_type: str, expires_in: int
    ) -> str:
        """A URL that gives the object to whoever holds it, for ``expires_in`` seconds."""


class JobPresenter:
    """Turns snapshots into the members that clients see."""

    def __init__(self, signer: LinkSigner, *, link_ttl: int) -> None:
        """``link_ttl``: seconds that a link is good for, at most; never past the archive's end."""
        self._signer = signer
        self._link_ttl = link_ttl

    def present(self, job: Job, now_ms: int | None = None) -> dict[str, Any]:
        """The job as JSON members, with a link signed now when it is completed.

        Signing is computation only: no round trip. ``now_ms`` is milliseconds since 1970.
        """
        artifact, failure = job.artifact, job.failure
        url, expires_at = self.link(job, now_ms)
        remaining = job.seconds_remaining
        return {
            "jobId": job.id,
            "status": job.status.value,
            "version": job.version,
            "progress": job.progress,
            "totalFiles": job.total_files,
            "processedFiles": job.processed_files,
            "totalBytes": job.total_bytes,
            "processedBytes": job.processed_bytes,
            # Every user's jobs take turns, so no number of jobs "in front" would be true.
            "queuePosition": None,
            "estimatedSecondsRemaining": None if remaining is None else round(remaining),
            "estimatedCompletion": None
            if remaining is None
            else iso(job.updated_at + round(remaining * 1000)),
            "downloadUrl": url,
            "expiresAt": expires_at,
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
            "createdAt": iso(job.created_at),
            "startedAt": iso(job.started_at),
            "updatedAt": iso(job.updated_at),
            "completedAt": iso(job.completed_at),
        }

    def link(self, job: Job, now_ms: int | None = None) -> tuple[str | None, str | None]:
        """A fresh link to the archive and when it ends; Nones where there is no archive (any more).

        Ends with the archive, should that be sooner than the link's own time.
        """
        if job.status is not JobState.COMPLETED or job.artifact is None:
            return None, None
        now = now_ms if now_ms is not None else time.time_ns() // 1_000_000
        end = min(now + self._link_ttl * 1000, job.expires_at or now + self._link_ttl * 1000)
        seconds = (end - now) // 1000
        if seconds < 1:
            return None, None
        return self._sign(job.artifact, seconds), iso(end)

    def _sign(self, artifact: Artifact, seconds: int) -> str:
        return self._signer.presign_get(
            artifact.bucket,
            artifact.key,
            filename=artifact.name,
            content_type=artifact.content_type,
            expires_in=seconds,
        )


def iso(ms: int | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and ``Z``."""
    if ms is None:
        return None
    seconds, rest = divmod(ms, 1000)
    return f"{second(seconds)}.{rest:03d}Z"


# A job's times hardly differ from one event to the next, nor those of jobs at the same time.
@lru_cache(maxsize=4096)
def second(seconds: int) -> str:
    """The same without milliseconds and ``Z``."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
