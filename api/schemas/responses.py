"""What clients get besides jobs."""

from __future__ import annotations

from typing import Final, get_args

from marshmallow import Schema, fields, validate

from api.schemas.job import JobSchema
from api.schemas.members import AnswerSchema, choice, count, member, string, time
from common.job_store.webhook_deliveries import POST_ERRORS, DeliveryState
from common.jobs.transitions import JobState

DELIVERY_STATES: Final = get_args(DeliveryState)
FILE_STATES: Final = ("pending", "done", "missing", "failed")


class FileReportSchema(AnswerSchema):
    """One file of a job."""

    file_id = count(low=-(2**53))
    state = choice(FILE_STATES)
    size = count("Bytes", null=True)
    fileName = string(null=True)
    error = string(null=True)
    errorCode = string(null=True)


class FilesSchema(AnswerSchema):
    """A page of a job's files, in the order of the request."""

    jobId = string(format="uuid")
    totalFiles = count()
    files = member(fields.List, cls_or_instance=fields.Nested(FileReportSchema))
    nextCursor = string("Null on the last page", null=True)


class JobsSchema(AnswerSchema):
    """A page of the caller's jobs, newest first."""

    jobs = member(fields.List, cls_or_instance=fields.Nested(JobSchema))
    nextCursor = string("Null on the last page", null=True)


class ResultSchema(AnswerSchema):
    """The finished archive."""

    downloadUrl = string("Signed for this answer: a credential", format="uri")
    expiresAt = time(null=False)
    fileName = string()
    fileSize = count("Bytes")
    contentType = string()


class CancelledSchema(AnswerSchema):
    """What became of the job."""

    jobId = string(format="uuid")
    status = choice([JobState.CANCELLED.value])
    message = string()


class CheckSchema(AnswerSchema):
    """Whether a file can be had."""

    file_id = count(low=-(2**53))
    available = member(fields.Boolean)
    size = count("Bytes", null=True)
    fileName = string(null=True)


class DeliveryAttemptSchema(AnswerSchema):
    """One POST of a webhook."""

    attempt = count("1 for the first", low=1)
    at = time(null=False)
    durationMs = count()
    status = count("The receiver's HTTP status; null where it gave no answer", null=True)
    error = choice(POST_ERRORS, "Why there was no answer", null=True)


class DeliverySchema(AnswerSchema):
    """The webhook for one terminal state of a job."""

    webhookId = string("The same in every attempt")
    type = string()
    version = count("The job's, when it entered the state", low=1)
    state = choice(DELIVERY_STATES)
    nextAttemptAt = time()
    attempts = member(fields.List, cls_or_instance=fields.Nested(DeliveryAttemptSchema))


class DeliveriesSchema(AnswerSchema):
    """A job's webhooks, oldest first."""

    jobId = string(format="uuid")
    deliveries = member(fields.List, cls_or_instance=fields.Nested(DeliverySchema))


class PrioritiesSchema(AnswerSchema):
    """Jobs by the priority that they queue with."""

    high = count()
    normal = count()
    low = count()


class DurationsSchema(AnswerSchema):
    """From creation to completion, over the newest completed jobs; milliseconds."""

    p50 = count(null=True)
    p95 = count(null=True)
    p99 = count(null=True)


class StatisticsSchema(AnswerSchema):
    """The queue at this moment."""

    waiting = member(fields.Nested, nested=PrioritiesSchema)
    totalWaiting = count()
    oldestWaitSeconds = member(
        fields.Float, allow_none=True, validate=validate.Range(0), meaning="Null when none waits"
    )
    processing = count()
    retrying = count("Failed attempts that will be tried again")
    completed = count("Since the store began")
    failed = count("Since the store began")
    cancelled = count("Since the store began")
    deadLetters = count()
    paused = member(fields.Boolean, "Whether operators let no job begin")
    workers = count("Worker processes that showed a sign of life")
    durations = member(fields.Nested, nested=DurationsSchema)
    successRate = member(
        fields.Float,
        allow_none=True,
        validate=validate.Range(0, 1),
        meaning="completed / (completed + failed)",
    )


class HealthSchema(AnswerSchema):
    """Whether the service can do its work."""

    status = choice(["healthy", "unhealthy"])
    checks = member(
        fields.Dict,
        keys=fields.String(),
        values=fields.String(validate=validate.OneOf(["ok", "unavailable", "timeout", "off"])),
    )
    storage = fields.Dict(
        keys=fields.String(),
        values=fields.Boolean(),
        metadata={"description": "What the object storage can do, once a worker has tried"},
    )


class AliveSchema(AnswerSchema):
    """The process serves requests."""

    status = choice(["alive"])


class AboutSchema(AnswerSchema):
    """What this is."""

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
    code = string("Stable, for programs")
    retryable = member(fields.Boolean, "The same call may succeed later")
    requestId = string(null=True)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Member or parameter -> what is wrong"},
    )
    job = fields.Nested(
        JobSchema, metadata={"description": "The job, where its state is the reason"}
    )
