"""What operators get."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.job import JobSchema
from api.schemas.members import AnswerSchema, choice, count, member, string, time
from api.schemas.responses import StatisticsSchema
from common.jobs.model import Priority


class FailedAttemptSchema(AnswerSchema):
    """An attempt that ended without an archive."""

    attempt = count("Begins anew at 1 when a dead letter is requeued", low=1)
    worker = string(null=True)
    startedAt = time()
    endedAt = time(null=False)
    errorCode = string(null=True)
    error = string(null=True)


class DeadLetterSchema(AnswerSchema):
    """A job that failed for good although a further attempt might have helped."""

    job = member(fields.Nested, nested=JobSchema)
    userId = string("Whose job it is")
    since = time(null=False)
    attempts = member(fields.List, cls_or_instance=fields.Nested(FailedAttemptSchema))


class DeadLettersSchema(AnswerSchema):
    """A page of dead letters, newest first."""

    deadLetters = member(fields.List, cls_or_instance=fields.Nested(DeadLetterSchema))
    nextCursor = string("Null on the last page", null=True)


class PausedSchema(AnswerSchema):
    """Whether jobs are begun."""

    paused = member(fields.Boolean)


class WorkerJobSchema(AnswerSchema):
    """A job that a worker has at hand."""

    jobId = string(format="uuid")
    userId = string("Whose job it is")
    priority = choice([priority.value for priority in Priority])
    attempt = count(low=1)
    progress = count(high=100)
    totalFiles = count()
    processedFiles = count()
    totalBytes = count(null=True)
    processedBytes = count(null=True)
    estimatedSecondsRemaining = count("As of the job's last change", null=True)
    startedAt = time()


class WorkerSchema(AnswerSchema):
    """A worker process that lately showed a sign of life."""

    workerId = string("The same in logs and in the attempts of a job")
    host = string("The machine's name")
    since = time("Its first sign of life")
    slots = count("Jobs that it may run at once", low=1)
    jobs = member(fields.List, cls_or_instance=fields.Nested(WorkerJobSchema))


class WorkersSchema(AnswerSchema):
    """All workers, by their names."""

    workers = member(fields.List, cls_or_instance=fields.Nested(WorkerSchema))


class FailedJobSchema(AnswerSchema):
    """A job that failed."""

    jobId = string(format="uuid")
    userId = string("Whose job it is")
    error = string(null=True)
    errorCode = string(null=True)
    retryable = member(fields.Boolean, "A further attempt might help", allow_none=True)
    attempt = count()
    completedAt = time("When it failed")


class OverviewSchema(WorkersSchema):
    """What operators look at."""

    statistics = member(fields.Nested, nested=StatisticsSchema)
    failures = member(
        fields.List,
        "Of all users, newest first",
        cls_or_instance=fields.Nested(FailedJobSchema),
    )
    timestamp = time("When it was read", null=False)


class OverviewEventSchema(AnswerSchema):
    """One server-sent event of the operator's stream."""

    id = string("Counts the readings of this process")
    event = choice(["overview"])
    data = string("An overview as JSON")
