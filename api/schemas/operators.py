"""Responses of the calls for operators."""

from __future__ import annotations

from typing import Final

from marshmallow import fields

from api.admin.service_summary import Level
from api.schemas.fields import ResponseSchema, choice, count, list_of, member, string, time
from api.schemas.job import JobSchema
from api.schemas.responses import StatisticsSchema
from common.jobs.model import PRIORITIES

LEVELS: Final = [level.name.lower() for level in Level]


class FailedAttemptSchema(ResponseSchema):
    """An attempt that ended without an archive."""

    attempt = count("Starts at 1 again when a dead letter is requeued", low=1)
    worker = string(null=True)
    startedAt = time()
    endedAt = time(null=False)
    errorCode = string(null=True)
    error = string(null=True)


class DeadLetterSchema(ResponseSchema):
    """A job that failed although another attempt might succeed."""

    job = member(fields.Nested, nested=JobSchema)
    userId = string("The owner of the job")
    since = time(null=False)
    attempts = list_of(FailedAttemptSchema)


class DeadLettersSchema(ResponseSchema):
    """A page of dead letters, newest first."""

    deadLetters = list_of(DeadLetterSchema)
    nextCursor = string("Null on the last page", null=True)


class PausedSchema(ResponseSchema):
    """Whether the queue is paused."""

    paused = member(fields.Boolean)


class WorkerJobSchema(ResponseSchema):
    """A job that a worker is running."""

    jobId = string(format="uuid")
    userId = string("The owner of the job")
    priority = choice(PRIORITIES)
    attempt = count(low=1)
    progress = count(high=100)
    totalFiles = count()
    processedFiles = count()
    totalBytes = count(null=True)
    processedBytes = count(null=True)
    estimatedSecondsRemaining = count("As of the job's last change", null=True)
    startedAt = time()


class WorkerSchema(ResponseSchema):
    """A worker process that is alive."""

    workerId = string("As in the logs and in the attempts of a job")
    host = string("Host name of the machine")
    since = time("When the worker registered")
    slots = count("Number of jobs that it can run at the same time", low=1)
    jobs = list_of(WorkerJobSchema)


class WorkersSchema(ResponseSchema):
    """All workers, sorted by name."""

    workers = list_of(WorkerSchema)


class FailedJobSchema(ResponseSchema):
    """A job that failed."""

    jobId = string(format="uuid")
    userId = string("The owner of the job")
    error = string(null=True)
    errorCode = string(null=True)
    retryable = member(fields.Boolean, "Another attempt might succeed", allow_none=True)
    attempt = count()
    completedAt = time("When the job failed")


class ReasonSchema(ResponseSchema):
    """Why jobs wait or fail."""

    code = string("For programs; a later version may add others")
    level = choice(LEVELS, "critical: no job runs; info: jobs wait, as they should")
    message = string()


class SummarySchema(ResponseSchema):
    """The state of the service."""

    level = choice(LEVELS, "The worst level of a reason")
    message = string("All well, or the worst reason")
    idleSince = time("Since when no job has run, although some wait; null if unknown")
    reasons = list_of(ReasonSchema, "The worst first")


class OverviewSchema(WorkersSchema):
    """The service at a glance."""

    summary = member(fields.Nested, nested=SummarySchema)

    statistics = member(fields.Nested, nested=StatisticsSchema)
    failures = list_of(FailedJobSchema, "Of all users, newest first")
    timestamp = time("When the overview was read", null=False)


class OverviewEventSchema(ResponseSchema):
    """A server-sent event of the operators' stream."""

    id = string("A counter of this server process")
    event = choice(["overview"])
    data = string("An overview as JSON")
