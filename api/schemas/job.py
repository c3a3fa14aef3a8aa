"""A job as clients see it, and the responses and events that contain one."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import fields

from api.schemas.fields import ResponseSchema, choice, count, member, string, time
from common.jobs.model import PRIORITIES
from common.jobs.transitions import STATES

EVENTS: Final = (
    "connected",
    "progress",
    "retrying",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "heartbeat",
)


class JobSchema(ResponseSchema):
    """A job at one version."""

    jobId = string(format="uuid")
    status = choice(STATES)
    version = count("Incremented by every change; the cursor of every transport", low=1)
    progress = count("Percent; never decreases within an attempt", high=100)
    totalFiles = count(null=True)
    processedFiles = count(null=True)
    totalBytes = count(null=True)
    processedBytes = count(null=True)
    missingFiles = count("Requested files that the archive lacks (onMissing: skip)")
    queuePosition = count(
        "Estimated rank among waiting jobs of the same or a higher priority; 1 is next. "
        "Null if unknown, as while a retry waits",
        null=True,
        low=1,
    )
    estimatedSecondsRemaining = count(
        "Until the job is finished; as of updatedAt, or of the response while it is queued",
        null=True,
    )
    estimatedCompletion = time()
    downloadUrl = string(
        "Signed for this response. Anyone who has the URL can download the archive.",
        null=True,
        format="uri",
    )
    expiresAt = time("When downloadUrl stops working")
    availableUntil = time("When the archive expires and can no longer be downloaded")
    fileName = string(null=True)
    fileSize = count("Bytes", null=True)
    contentType = string(null=True)
    checksum = string("crc32: followed by 8 hexadecimal digits", null=True)
    error = string("Why the latest attempt failed", null=True)
    errorCode = string(null=True)
    retryable = member(fields.Boolean, allow_none=True)
    retriesRemaining = count("maxAttempts - attempt; 0 if the error is not retryable", null=True)
    attempt = count("The number of the current or latest attempt; 0 before the first")
    maxAttempts = count("The first attempt and all retries", low=1)
    retryAt = time("When the next attempt is due")
    priority = choice(PRIORITIES)
    metadata = member(fields.Dict, "As sent in the request")
    downloads = count("How often resultUrl or a link was used")
    createdAt = time(null=False)
    startedAt = time()
    updatedAt = time(null=False)
    completedAt = time()


class JobMembersSchema(JobSchema):
    """Those members of a job that the query parameter `fields` names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "partial": True})


#: The response to a status request, which `fields` may shorten.
JOB_OR_MEMBERS: Final = {"anyOf": [JobSchema, JobMembersSchema]}


class JobEventSchema(JobSchema):
    """The data of an event: always the whole job, never a difference."""

    timestamp = time("When the event was sent", null=False)
    message = fields.String(metadata={"description": "For people; only in `connected`"})


class EventSchema(ResponseSchema):
    """A server-sent event."""

    id = fields.String(
        metadata={"description": "The version of the job; absent in `connected` of a finished job"}
    )
    event = choice([*EVENTS, "message"])
    data = string("A job with a timestamp, as JSON")


class AcceptedSchema(JobSchema):
    """A job and the URLs to follow it."""

    message = string()
    totalFileIds = count("Without duplicates", low=1)
    deduplicated = member(
        fields.Boolean, "True if an identical request was already running: this is its job"
    )
    statusUrl = string(format="uri")
    subscribeUrl = string("Server-sent events", format="uri")
    webSocketUrl = string(format="uri")
    resultUrl = string(format="uri")
    cancelUrl = string(format="uri")
    pollingInterval = count("Milliseconds", low=1)
