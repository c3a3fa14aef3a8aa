"""A job as clients see it, and what carries it."""

from __future__ import annotations

from typing import Final

from marshmallow import fields

from api.schemas.members import AnswerSchema, choice, count, member, string, time
from common.jobs.model import Priority
from common.jobs.transitions import JobState

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


class JobSchema(AnswerSchema):
    """A job as it is at one version."""

    jobId = string(format="uuid")
    status = choice([state.value for state in JobState])
    version = count("Grows by one at every change; the cursor of every transport", low=1)
    progress = count("Per cent; never goes back within an attempt", high=100)
    totalFiles = count(null=True)
    processedFiles = count(null=True)
    totalBytes = count(null=True)
    processedBytes = count(null=True)
    queuePosition = count(
        "Null: the jobs of all users take turns, so no number of jobs in front would be true",
        null=True,
    )
    estimatedSecondsRemaining = count("As of updatedAt", null=True)
    estimatedCompletion = time()
    downloadUrl = string("Signed for this answer: a credential", null=True, format="uri")
    expiresAt = time("When downloadUrl ends")
    fileName = string(null=True)
    fileSize = count("Bytes", null=True)
    contentType = string(null=True)
    checksum = string("crc32: and 8 hexadecimal digits", null=True)
    error = string("Why the newest attempt failed", null=True)
    errorCode = string(null=True)
    retryable = member(fields.Boolean, allow_none=True)
    retriesRemaining = count(null=True)
    attempt = count("0 before the first")
    maxAttempts = count(low=1)
    retryAt = time("When a failed attempt is tried again")
    priority = choice([priority.value for priority in Priority])
    metadata = member(fields.Dict, "As it was sent")
    createdAt = time(null=False)
    startedAt = time()
    updatedAt = time(null=False)
    completedAt = time()


class JobEventSchema(JobSchema):
    """What each event of a live stream carries: the whole job, never a difference."""

    timestamp = time("When it was sent", null=False)


class EventSchema(AnswerSchema):
    """One server-sent event."""

    id = string("The version of the job")
    event = choice([*EVENTS, "message"])
    data = string("A job with its timestamp, as JSON")


class AcceptedSchema(JobSchema):
    """A job and where to go on from it."""

    message = string()
    totalFileIds = count("Without duplicates", low=1)
    deduplicated = member(fields.Boolean, "An identical request was in flight: this is its job")
    statusUrl = string(format="uri")
    subscribeUrl = string("Server-sent events", format="uri")
    webSocketUrl = string(format="uri")
    resultUrl = string(format="uri")
    cancelUrl = string(format="uri")
    pollingInterval = count("Milliseconds", low=1)
