"""What operators get out of history."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import Schema, fields, validate

from api.schemas.job import JobSchema
from api.schemas.members import AnswerSchema, choice, count, member, string, time
from api.schemas.responses import FILE_STATES
from common.jobs.transitions import JobState

#: Hours that can be asked for at once: a month.
MOST_HOURS: Final = 24 * 31
_STATES: Final = [state.value for state in JobState]


def _list_of(schema: type[Schema]) -> Any:
    return member(fields.List, cls_or_instance=fields.Nested(schema))


class ChangeSchema(AnswerSchema):
    """A change of state."""

    version = count(low=1)
    status = choice(_STATES)
    attempt = count()
    worker = string(null=True)
    errorCode = string(null=True)
    at = time(null=False)


class RecordedAttemptSchema(AnswerSchema):
    """One worker's attempt."""

    attempt = count("Counts anew after a retry by hand", null=True)
    worker = string(null=True)
    startedAt = time()
    endedAt = time()
    outcome = choice(_STATES, "The state that the job went into", null=True)
    errorCode = string(null=True)
    error = string(null=True)


class RecordedFileSchema(AnswerSchema):
    """A file of the job when it ended."""

    file_id = count(low=-(2**53))
    state = choice(FILE_STATES)
    size = count("Bytes", null=True)
    fileName = string(null=True)
    errorCode = string(null=True)


class RecordedDeliverySchema(AnswerSchema):
    """One POST of a webhook."""

    version = count("Of the state that it told of", low=1)
    attempt = count(low=1)
    at = time(null=False)
    durationMs = count()
    status = count("The receiver's HTTP status", null=True)
    error = string(null=True)
    state = string("What became of the webhook by it")


class JobRecordSchema(AnswerSchema):
    """All that was recorded of one job."""

    job = member(fields.Nested, nested=JobSchema)
    user = string()
    changes = _list_of(ChangeSchema)
    attempts = _list_of(RecordedAttemptSchema)
    files = _list_of(RecordedFileSchema)
    deliveries = _list_of(RecordedDeliverySchema)


class HourDurationsSchema(AnswerSchema):
    """From creation to completion, milliseconds."""

    p50 = count(null=True)
    p95 = count(null=True)
    p99 = count(null=True)


class HourSchema(AnswerSchema):
    """What happened within an hour."""

    start = time(null=False)
    created = count()
    completed = count()
    failed = count()
    cancelled = count()
    retried = count("Attempts that failed and were tried again")
    bytes = count("Of the archives completed")
    successRate = member(
        fields.Float,
        "completed / (completed + failed); null while none ended",
        allow_none=True,
        validate=validate.Range(0, 1),
    )
    durations = member(fields.Nested, nested=HourDurationsSchema)


class AnalyticsSchema(AnswerSchema):
    """The last hours, oldest first, the running one included."""

    hours = _list_of(HourSchema)


class HoursQuerySchema(Schema):
    """How far back."""

    hours = fields.Integer(
        load_default=24,
        validate=validate.Range(1, MOST_HOURS),
        metadata={"description": "How many hours, the running one included"},
    )


HOURS_QUERY: Final = HoursQuerySchema()
