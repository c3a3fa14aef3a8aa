"""Responses other than jobs."""

from __future__ import annotations

from typing import Final, get_args

from marshmallow import Schema, fields, validate

from api.schemas.fields import (
    ResponseSchema,
    choice,
    count,
    list_of,
    member,
    string,
    success_rate,
    time,
)
from api.schemas.job import JobSchema
from common.job_store.deliveries import POST_ERRORS, DeliveryState
from common.jobs.transitions import JobState

DELIVERY_STATES: Final = get_args(DeliveryState)
#: The counters of ended jobs.
ENDED: Final = "Since the job store was created; a job that is retried counts each time it ends"
FILE_STATES: Final = ("pending", "done", "missing", "failed")


class FileReportSchema(ResponseSchema):
    """One file of a job."""

    file_id = count(low=-(2**53))
    state = choice(FILE_STATES)
    size = count("Bytes", null=True)
    fileName = string(null=True)
    path = string("In the archive; the requested path until the file is done", null=True)
    error = string(null=True)
    errorCode = string(null=True)


class FilesSchema(ResponseSchema):
    """A page of a job's files, in the order of the request."""

    jobId = string(format="uuid")
    totalFiles = count()
    files = list_of(FileReportSchema)
    nextCursor = string("Null on the last page", null=True)


class JobsSchema(ResponseSchema):
    """A page of your jobs, newest first."""

    jobs = list_of(JobSchema)
    nextCursor = string("Null on the last page", null=True)


class ResultSchema(ResponseSchema):
    """The finished archive."""

    downloadUrl = string(
        "Signed for this response. Anyone who has the URL can download the archive.",
        format="uri",
    )
    expiresAt = time(null=False)
    fileName = string()
    fileSize = count("Bytes")
    contentType = string()


class CancelledSchema(ResponseSchema):
    """The result of a cancellation."""

    jobId = string(format="uuid")
    status = choice([JobState.CANCELLED.value])
    message = string()


class CheckSchema(ResponseSchema):
    """Whether a file is available."""

    file_id = count(low=-(2**53))
    available = member(fields.Boolean)
    size = count("Bytes", null=True)
    fileName = string(null=True)


#: The response to a check of one file, or of several in the order of the request.
CHECK_OR_LIST: Final = {"anyOf": [CheckSchema, {"type": "array", "items": CheckSchema}]}


class SentHeadersSchema(ResponseSchema):
    """What was sent, without secrets."""

    url = string("The origin of callbackUrl")
    headers = member(fields.Dict, keys=fields.String(), values=fields.String())


class ReceivedHeadersSchema(ResponseSchema):
    """What the receiver responded with, without secrets."""

    headers = member(fields.Dict, keys=fields.String(), values=fields.String())


class DeliveryAttemptSchema(ResponseSchema):
    """One attempt to deliver a webhook."""

    attempt = count("1 for the first", low=1)
    at = time(null=False)
    durationMs = count()
    status = count("HTTP status of the receiver; null if it did not respond", null=True)
    error = choice(POST_ERRORS, "Why there was no response", null=True)
    request = member(
        fields.Nested, "Of the latest attempts", nested=SentHeadersSchema, allow_none=True
    )
    response = member(
        fields.Nested, "Of the latest attempts", nested=ReceivedHeadersSchema, allow_none=True
    )


class DeliverySchema(ResponseSchema):
    """The webhook for one terminal state of a job."""

    webhookId = string("The same in every attempt")
    type = string()
    version = count("Version of the job when it entered the state", low=1)
    state = choice(DELIVERY_STATES)
    nextAttemptAt = time()
    attempts = list_of(DeliveryAttemptSchema)


class DeliveriesSchema(ResponseSchema):
    """The webhooks of a job, oldest first."""

    jobId = string(format="uuid")
    deliveries = list_of(DeliverySchema)


class PrioritiesSchema(ResponseSchema):
    """Number of jobs by priority."""

    high = count()
    normal = count()
    low = count()


class DurationsSchema(ResponseSchema):
    """Time from creation to completion of the latest completed jobs, in milliseconds."""

    avg = count("The average", null=True)
    p50 = count(null=True)
    p95 = count(null=True)
    p99 = count(null=True)


class StatisticsSchema(ResponseSchema):
    """The queue right now."""

    waiting = member(fields.Nested, nested=PrioritiesSchema)
    totalWaiting = count()
    oldestWaitSeconds = member(
        fields.Float, "Null if no job is waiting", allow_none=True, validate=validate.Range(0)
    )
    processing = count()
    retrying = count("Jobs that wait for their next attempt")
    completed = count(ENDED)
    failed = count(ENDED)
    cancelled = count(ENDED)
    deadLetters = count()
    paused = member(fields.Boolean, "True if an operator paused the queue")
    workers = count("Worker processes that are alive")
    durations = member(fields.Nested, nested=DurationsSchema)
    successRate = success_rate()


class HealthSchema(ResponseSchema):
    """The health of the API and its dependencies."""

    status = choice(["healthy", "unhealthy"])
    checks = member(
        fields.Dict,
        keys=fields.String(),
        values=fields.String(validate=validate.OneOf(["ok", "unavailable", "timeout", "off"])),
    )
    storage = fields.Dict(
        keys=fields.String(),
        values=fields.Boolean(),
        metadata={
            "description": "Capabilities of the object storage; present once a worker tested them"
        },
    )


class AliveSchema(ResponseSchema):
    """The process is serving requests."""

    status = choice(["alive"])


class AboutSchema(ResponseSchema):
    """About this API."""

    message = string()
    version = string()
    docs = string()


class ProblemSchema(Schema):
    """Problem details (RFC 9457)."""

    type = string(format="uri-reference")
    title = string()
    status = count(low=400, high=599)
    detail = string()
    instance = string(format="uri-reference")
    code = string("Stable identifier of the error, for programs")
    retryable = member(fields.Boolean, "Whether the same call may succeed later")
    requestId = string(null=True)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "What is wrong, by field or parameter"},
    )
    file_ids = fields.List(
        fields.Integer(),
        metadata={"description": "The files that you don't have permission to download"},
    )
    resetAt = fields.String(
        metadata={"description": "When the quota resets", "format": "date-time"}
    )
    job = fields.Nested(
        JobSchema, metadata={"description": "The job, if its state is the reason for the error"}
    )
