"""Responses of the calls that read the history."""

from __future__ import annotations

from typing import Final

from marshmallow import fields, validate

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
from api.schemas.requests import Query
from api.schemas.responses import FILE_STATES, DurationsSchema
from common.jobs.transitions import STATES

#: A month.
MAX_HOURS: Final = 24 * 31


class ChangeSchema(ResponseSchema):
    """A state change."""

    version = count(low=1)
    status = choice(STATES)
    attempt = count()
    worker = string(null=True)
    errorCode = string(null=True)
    reason = string(
        "Why a worker returned the job to the queue, or who changed its state", null=True
    )
    at = time(null=False)


class RecordedAttemptSchema(ResponseSchema):
    """One attempt by a worker."""

    attempt = count("Starts at 1 again after a manual retry", null=True)
    worker = string(null=True)
    startedAt = time()
    endedAt = time()
    outcome = choice(STATES, "The state that the attempt left the job in", null=True)
    errorCode = string(null=True)
    error = string(null=True)


class RecordedFileSchema(ResponseSchema):
    """A file of the job, as it was when the job ended."""

    file_id = count(low=-(2**53))
    state = choice(FILE_STATES)
    size = count("Bytes", null=True)
    fileName = string(null=True)
    errorCode = string(null=True)
    error = string("Why the file is missing or failed", null=True)


class RecordedDeliverySchema(ResponseSchema):
    """One delivery attempt of a webhook."""

    version = count("The version of the job that was reported", low=1)
    attempt = count(low=1)
    at = time(null=False)
    durationMs = count()
    status = count("HTTP status of the receiver", null=True)
    error = string(null=True)
    state = string("State of the webhook after this attempt")


class RecordedDownloadSchema(ResponseSchema):
    """One counted download."""

    at = time(null=False)
    linkId = string("The link; null: the job's own URL", null=True)
    network = choice(["public", "private", "unknown"], "Of the client's address")


class JobRecordSchema(ResponseSchema):
    """Everything that was recorded about one job."""

    job = member(fields.Nested, nested=JobSchema)
    user = string()
    changes = list_of(ChangeSchema)
    attempts = list_of(RecordedAttemptSchema)
    files = list_of(RecordedFileSchema)
    deliveries = list_of(RecordedDeliverySchema)
    downloads = list_of(RecordedDownloadSchema, "Up to the first 1,000")


class HourDurationsSchema(DurationsSchema):
    """Time from creation to completion, in milliseconds."""


class HourSchema(ResponseSchema):
    """What happened within an hour. A job that is retried counts each time it ends."""

    start = time(null=False)
    created = count()
    completed = count()
    failed = count()
    cancelled = count()
    retried = count("Failed attempts that were retried")
    bytes = count("Total size of the completed archives")
    successRate = success_rate()
    durations = member(fields.Nested, nested=HourDurationsSchema)


class AnalyticsSchema(ResponseSchema):
    """Statistics by hour, oldest first, including the current hour."""

    hours = list_of(HourSchema)


class HoursQuerySchema(Query):
    """Which hours to return."""

    hours = fields.Integer(
        load_default=24,
        validate=validate.Range(1, MAX_HOURS),
        metadata={"description": "Number of hours, including the current one"},
    )


HOURS_QUERY: Final = HoursQuerySchema()
