"""What clients get, as documentation: members are never absent, unknown ones are null."""

from __future__ import annotations

from typing import Final, get_args

from marshmallow import Schema, fields, validate

from api.schemas.members import AnswerSchema as _Answer
from api.schemas.members import choice as _choice
from api.schemas.members import count as _count
from api.schemas.members import member as _member
from api.schemas.members import string as _string
from api.schemas.members import time as _time
from common.jobs.model import Priority
from common.jobs.transitions import JobState
from common.store.deliveries import POST_ERRORS, DeliveryState

DELIVERY_STATES: Final = get_args(DeliveryState)
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
FILE_STATES: Final = ("pending", "done", "missing", "failed")


class JobSchema(_Answer):
    """A job as it is at one version."""

    jobId = _string(format="uuid")
    status = _choice([state.value for state in JobState])
    version = _count("Grows by one at every change; the cursor of every transport", low=1)
    progress = _count("Per cent; never goes back within an attempt", high=100)
    totalFiles = _count(null=True)
    processedFiles = _count(null=True)
    totalBytes = _count(null=True)
    processedBytes = _count(null=True)
    queuePosition = _count("Null where it is not known", null=True)
    estimatedSecondsRemaining = _count("As of updatedAt", null=True)
    estimatedCompletion = _time()
    downloadUrl = _string("Signed for this answer: a credential", null=True, format="uri")
    expiresAt = _time("When downloadUrl ends")
    fileName = _string(null=True)
    fileSize = _count("Bytes", null=True)
    contentType = _string(null=True)
    checksum = _string("crc32: and 8 hexadecimal digits", null=True)
    error = _string("Why the newest attempt failed", null=True)
    errorCode = _string(null=True)
    retryable = _member(fields.Boolean, allow_none=True)
    retriesRemaining = _count(null=True)
    attempt = _count("0 before the first")
    maxAttempts = _count(low=1)
    retryAt = _time("When a failed attempt is tried again")
    priority = _choice([priority.value for priority in Priority])
    metadata = _member(fields.Dict, "As it was sent")
    createdAt = _time(null=False)
    startedAt = _time()
    updatedAt = _time(null=False)
    completedAt = _time()


class JobEventSchema(JobSchema):
    """What each event of a live stream carries: the whole job, never a difference."""

    timestamp = _time("When it was sent", null=False)


class EventSchema(_Answer):
    """One server-sent event."""

    id = _string("The version of the job")
    event = _choice([*EVENTS, "message"])
    data = _string("A job with its timestamp, as JSON")


class AcceptedSchema(JobSchema):
    """A job and where to go on from it."""

    message = _string()
    totalFileIds = _count("Without duplicates", low=1)
    deduplicated = _member(fields.Boolean, "An identical request was in flight: this is its job")
    statusUrl = _string(format="uri")
    subscribeUrl = _string("Server-sent events", format="uri")
    webSocketUrl = _string(format="uri")
    resultUrl = _string(format="uri")
    cancelUrl = _string(format="uri")
    pollingInterval = _count("Milliseconds", low=1)


class FileReportSchema(_Answer):
    """One file of a job."""

    file_id = _count(low=-(2**53))
    state = _choice(FILE_STATES)
    size = _count("Bytes", null=True)
    fileName = _string(null=True)
    error = _string(null=True)
    errorCode = _string(null=True)


class FilesSchema(_Answer):
    """A page of a job's files, in the order of the request."""

    jobId = _string(format="uuid")
    totalFiles = _count()
    files = _member(fields.List, cls_or_instance=fields.Nested(FileReportSchema))
    nextCursor = _string("Null on the last page", null=True)


class JobsSchema(_Answer):
    """A page of the caller's jobs, newest first."""

    jobs = _member(fields.List, cls_or_instance=fields.Nested(JobSchema))
    nextCursor = _string("Null on the last page", null=True)


class ResultSchema(_Answer):
    """The finished archive."""

    downloadUrl = _string("Signed for this answer: a credential", format="uri")
    expiresAt = _time(null=False)
    fileName = _string()
    fileSize = _count("Bytes")
    contentType = _string()


class CancelledSchema(_Answer):
    """What became of the job."""

    jobId = _string(format="uuid")
    status = _choice([JobState.CANCELLED.value])
    message = _string()


class CheckSchema(_Answer):
    """Whether a file can be had."""

    file_id = _count(low=-(2**53))
    available = _member(fields.Boolean)
    size = _count("Bytes", null=True)
    fileName = _string(null=True)


class DeliveryAttemptSchema(_Answer):
    """One POST of a webhook."""

    attempt = _count("1 for the first", low=1)
    at = _time(null=False)
    durationMs = _count()
    status = _count("The receiver's HTTP status; null where it gave no answer", null=True)
    error = _choice(POST_ERRORS, "Why there was no answer", null=True)


class DeliverySchema(_Answer):
    """The webhook for one terminal state of a job."""

    webhookId = _string("The same in every attempt")
    type = _string()
    version = _count("The job's, when it entered the state", low=1)
    state = _choice(DELIVERY_STATES)
    nextAttemptAt = _time()
    attempts = _member(fields.List, cls_or_instance=fields.Nested(DeliveryAttemptSchema))


class DeliveriesSchema(_Answer):
    """A job's webhooks, oldest first."""

    jobId = _string(format="uuid")
    deliveries = _member(fields.List, cls_or_instance=fields.Nested(DeliverySchema))


class LanesSchema(_Answer):
    """Jobs by the priority that they queue with."""

    high = _count()
    normal = _count()
    low = _count()


class DurationsSchema(_Answer):
    """From creation to completion, over the newest completed jobs; milliseconds."""

    p50 = _count(null=True)
    p95 = _count(null=True)
    p99 = _count(null=True)


class StatisticsSchema(_Answer):
    """The queue at this moment."""

    waiting = _member(fields.Nested, nested=LanesSchema)
    totalWaiting = _count()
    oldestWaitSeconds = _member(
        fields.Float, allow_none=True, validate=validate.Range(0), meaning="Null when none waits"
    )
    processing = _count()
    retrying = _count("Failed attempts that will be tried again")
    completed = _count("Since the store began")
    failed = _count("Since the store began")
    cancelled = _count("Since the store began")
    deadLetters = _count()
    paused = _member(fields.Boolean, "No job is begun until an operator resumes the queue")
    workers = _count("Worker processes that showed a sign of life")
    durations = _member(fields.Nested, nested=DurationsSchema)
    successRate = _member(
        fields.Float,
        allow_none=True,
        validate=validate.Range(0, 1),
        meaning="completed / (completed + failed)",
    )


class HealthSchema(_Answer):
    """Whether the service can do its work."""

    status = _choice(["healthy", "unhealthy"])
    checks = _member(
        fields.Dict,
        keys=fields.String(),
        values=fields.String(validate=validate.OneOf(["ok", "unavailable", "timeout", "off"])),
    )


class AliveSchema(_Answer):
    """The process serves requests."""

    status = _choice(["alive"])


class AboutSchema(_Answer):
    """What this is."""

    message = _string()
    version = _string()
    docs = _string()


class ProblemSchema(Schema):
    """Problem details (RFC 9457)."""

    type = _string(format="uri-reference")
    title = _string()
    status = _count(low=400, high=599)
    detail = _string()
    instance = _string(format="uri-reference")
    code = _string("Stable, for programs")
    retryable = _member(fields.Boolean, "The same call may succeed later")
    requestId = _string(null=True)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Member or parameter -> what is wrong"},
    )
    job = fields.Nested(
        JobSchema, metadata={"description": "The job, where its state is the reason"}
    )
