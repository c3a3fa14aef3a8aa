"""What operators get."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.job import JobSchema
from api.schemas.members import AnswerSchema, count, member, string, time


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
