"""Requests and responses of the calls about the jobs of all users."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from api.admin.operator_actions import MAX_BATCH, Action
from api.auth.callers import USER_PATTERN
from api.schemas.fields import ResponseSchema, choice, count, list_of, member, string, time
from api.schemas.history import JobRecordSchema
from api.schemas.requests import PageQuery, Query
from api.schemas.responses import ENDED
from common.job_store.statistics_log import MAX_SAMPLES
from common.jobs.model import PRIORITIES, Priority
from common.jobs.transitions import STATES, JobState

HISTORY_STATES: Final = ("ok", "off", "unavailable")
TIMELINE_KINDS: Final = ("state", "webhook", "link", "operator")
_HEX: Final = "[0-9A-Fa-f]"
ID_PREFIX_PATTERN: Final = (
    rf"^(?:{_HEX}{{1,8}}|{_HEX}{{8}}(?:-{_HEX}{{4}}){{0,3}}-{_HEX}{{0,4}}"
    rf"|{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{0,12}})$(?!\n)"
)
ERROR_CODE_PATTERN: Final = r"^[A-Z][A-Z0-9_]{0,63}$(?!\n)"
#: Times that Python, PostgreSQL and JavaScript all represent, in any time zone.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)


def _pattern(description: str, pattern: str, error: str) -> Any:
    return fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Regexp(pattern, error=error),
        metadata={"description": description},
    )


def _time(description: str, name: str) -> Any:
    return fields.AwareDateTime(
        format="iso",
        default_timezone=UTC,
        data_key=name,
        load_default=None,
        allow_none=True,
        validate=_is_in_range,
        metadata={"description": description},
    )


def _is_in_range(at: datetime) -> None:
    if not _EARLIEST <= at <= _LATEST:
        raise ValidationError("Must be a time between 1970 and 9999.")


class JobFilterSchema(Schema):
    """Conditions that must all be met."""

    class Meta:
        unknown = RAISE

    user = _pattern("The owner of the job", rf"{USER_PATTERN}(?!\n)", "Must be a user ID.")
    status = fields.Enum(
        JobState,
        by_value=True,
        load_default=None,
        allow_none=True,
        metadata={"description": "Only jobs in this state"},
    )
    errorCode = _pattern(
        "Only jobs with this error code", ERROR_CODE_PATTERN, "Must be an error code."
    )
    priority = fields.Enum(
        Priority,
        by_value=True,
        load_default=None,
        allow_none=True,
        metadata={"description": "Only jobs of this priority"},
    )
    created_from = _time("Created at this time or later", "from")
    created_before = _time("Created before this time", "to")
    q = _pattern(
        "A job ID, or how it begins", ID_PREFIX_PATTERN, "Must be a job ID or its beginning."
    )


class ExplorerQuery(JobFilterSchema, PageQuery):
    """Which jobs to return."""

    class Meta(PageQuery.Meta):
        pass


class JobActionsSchema(Schema):
    """What to do, and to which jobs: `jobIds` or `filter`."""

    class Meta:
        unknown = RAISE

    action = fields.Enum(Action, by_value=True, required=True)
    jobIds = fields.List(fields.UUID(), validate=validate.Length(1, MAX_BATCH))
    filter = fields.Nested(
        JobFilterSchema, metadata={"description": "An empty filter finds all jobs"}
    )
    priority = fields.Enum(
        Priority,
        by_value=True,
        load_default=None,
        allow_none=True,
        metadata={"description": "Required by `prioritize`: the new priority"},
    )
    dryRun = fields.Boolean(
        load_default=False, metadata={"description": "Only count the jobs that would be changed"}
    )

    @validates_schema
    def _require_consistency(self, data: dict[str, Any], **kwargs: Any) -> None:
        if ("jobIds" in data) == ("filter" in data):
            raise ValidationError("Specify either jobIds or filter.", "jobIds")
        if (data.get("action") is Action.PRIORITIZE) != (data.get("priority") is not None):
            raise ValidationError("Required by prioritize, and only by it.", "priority")


class ListedJobSchema(ResponseSchema):
    """A job in a list for operators, without links to its archive."""

    jobId = string(format="uuid")
    userId = string("The owner of the job")
    status = choice(STATES)
    version = count(low=1)
    priority = choice(PRIORITIES)
    progress = count("Percent", high=100)
    totalFiles = count()
    fileSize = count("Bytes of the archive", null=True)
    attempt = count()
    maxAttempts = count(low=1)
    retryAt = time("When the next attempt is due")
    worker = string("The worker of the current or latest attempt", null=True)
    error = string(null=True)
    errorCode = string(null=True)
    createdAt = time(null=False)
    startedAt = time()
    updatedAt = time(null=False)
    completedAt = time()


class ListedJobsSchema(ResponseSchema):
    """A page of jobs of all users, newest first."""

    jobs = list_of(ListedJobSchema)
    nextCursor = string("Null on the last page", null=True)
    history = choice(
        HISTORY_STATES,
        "Without the history, finished jobs are found only as long as the job store lists them",
    )
    partial = member(
        fields.Boolean,
        "True if the job store has more jobs than one search reads, so that some may be missing",
    )


class TimelineEntrySchema(ResponseSchema):
    """Something that happened to a job."""

    at = time(null=False)
    kind = choice(TIMELINE_KINDS)
    text = string("What happened: a state, or for other kinds one or two words")
    version = count("The version of the job", null=True, low=1)
    attempt = count("Of the job, or of the webhook", null=True)
    worker = string(null=True)
    errorCode = string(null=True)
    error = string(null=True)
    detail = string(
        "Why a worker returned the job to the queue, or who changed its state; the webhook's HTTP "
        "status, the link's ID, or the operator",
        null=True,
    )


class ExploredJobSchema(JobRecordSchema):
    """Everything that is known about one job."""

    timeline = list_of(TimelineEntrySchema, "Oldest first")
    actions = member(
        fields.List,
        "What an operator can do to the job now",
        cls_or_instance=fields.String(validate=validate.OneOf([each.value for each in Action])),
    )
    worker = string("The worker of the current or latest attempt", null=True)
    traceId = string("The trace of the request that created the job", null=True)
    history = choice(HISTORY_STATES, "Without the history, some members are incomplete")


class RejectedJobSchema(ResponseSchema):
    """A job that could not be changed."""

    jobId = string(format="uuid")
    errorCode = string()
    error = string()


class JobActionsResultSchema(ResponseSchema):
    """What was changed, or would be."""

    action = choice([each.value for each in Action])
    dryRun = member(fields.Boolean)
    asOf = time("Use it as `to` of the filter to change no job that was created since", null=False)
    matched = count("Jobs that the action applies to")
    more = member(fields.Boolean, "True if more jobs match than were counted")
    changed = count()
    remaining = count("Jobs that were counted and not tried yet; of `jobIds`, the last ones")
    rejected = list_of(RejectedJobSchema, "Jobs that could not be changed")


class AuditEntrySchema(ResponseSchema):
    """An action of an operator."""

    at = time(null=False)
    action = string()
    operator = string(
        "The subject of the operator's token; null if they used ADMIN_TOKEN", null=True
    )
    matched = count("Jobs that the action was for")
    changed = count("Jobs that it changed")
    jobIds = member(fields.List, "The first of the changed jobs", cls_or_instance=fields.UUID())
    parameters = member(fields.Dict, "The new priority, and the filter that chose the jobs")
    requestId = string()


class AuditLogSchema(ResponseSchema):
    """A page of the newest actions, newest first."""

    entries = list_of(AuditEntrySchema)
    nextCursor = string("Null on the last page", null=True)


class SampleSchema(ResponseSchema):
    """The queue at one moment."""

    at = time(null=False)
    waiting = count()
    processing = count()
    retrying = count()
    workers = count()
    paused = member(fields.Boolean)
    started = count("Attempts that were started since the job store was created")
    completed = count(ENDED)
    failed = count(ENDED)
    cancelled = count(ENDED)
    p50 = count("Milliseconds from creation to completion of the latest completed jobs", null=True)
    p95 = count(null=True)
    p99 = count(null=True)


class SamplesSchema(ResponseSchema):
    """Samples about once a minute, oldest first. None exist for times without a worker."""

    samples = list_of(SampleSchema)


class MinutesQuery(Query):
    """How far back to go."""

    minutes = fields.Integer(
        load_default=60,
        validate=validate.Range(1, MAX_SAMPLES),
        metadata={"description": "Number of samples, the newest ones"},
    )


EXPLORER_QUERY: Final = ExplorerQuery()
JOB_ACTIONS: Final = JobActionsSchema()
MINUTES_QUERY: Final = MinutesQuery()
