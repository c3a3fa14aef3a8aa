"""Usage and erasure: parameters and responses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from api.schemas.fields import ResponseSchema, count, member, string, time
from api.schemas.requests import Query
from common.jobs.model import PRIORITIES

#: Days that one response covers.
MAX_DAYS: Final = 92


class UsageQuery(Query):
    """Which days to return."""

    days = fields.Integer(
        load_default=30,
        validate=validate.Range(1, MAX_DAYS),
        metadata={"description": "How many days, including today"},
    )


class UsageExportQuery(Query):
    """Which days to export. Both are included."""

    first = fields.Date(
        data_key="from", required=True, format="iso", metadata={"description": "First day, UTC"}
    )
    last = fields.Date(
        data_key="to", required=True, format="iso", metadata={"description": "Last day, UTC"}
    )

    @validates_schema
    def _check_range(self, data: dict[str, Any], **kwargs: Any) -> None:
        if not timedelta(0) <= data["last"] - data["first"] < timedelta(days=MAX_DAYS):
            raise ValidationError(f"Must be 0 to {MAX_DAYS - 1} days after from.", "to")


class PlanLimitsSchema(ResponseSchema):
    """What the user may do."""

    priorities = member(
        fields.List,
        cls_or_instance=fields.String(validate=validate.OneOf(PRIORITIES)),
    )
    activeJobs = count("Unfinished jobs", low=1)
    createsPerMinute = count("New jobs", low=0)
    bytesPerDay = count("Of completed archives; null: unlimited", null=True, low=1)
    retention = count("Seconds for which archives are kept at most", low=1)


class UsageTodaySchema(ResponseSchema):
    """What counts against today's quota."""

    bytes = count("Bytes of the archives completed today; null without plans", null=True)
    resetAt = time("When the quota resets", null=False)


class UsageOfDaySchema(ResponseSchema):
    """What your jobs did on a day, UTC. A job that is retried counts each time it ends."""

    day = string(format="date")
    jobs = count("Created")
    completed = count()
    failed = count()
    cancelled = count()
    bytes = count("Of completed archives")


class UsageSchema(ResponseSchema):
    """The user's plan and usage."""

    plan = string("Null if the service has no plans", null=True)
    limits = member(fields.Nested, nested=PlanLimitsSchema)
    today = member(fields.Nested, nested=UsageTodaySchema)
    days = member(
        fields.List,
        "Oldest first, without days on which nothing happened; null without a history",
        cls_or_instance=fields.Nested(UsageOfDaySchema),
        allow_none=True,
    )


class ErasedSchema(ResponseSchema):
    """What was erased by this request."""

    userId = string()
    complete = member(fields.Boolean, "False: send the request again to continue")
    jobs = count("In the job store")
    cancelled = count("Jobs that were not finished")
    links = count()
    archives = count("A worker deletes them, unless jobs of other users need them")
    history = count("Recorded jobs and days of usage")


USAGE_QUERY: Final[Any] = UsageQuery()
USAGE_EXPORT_QUERY: Final[Any] = UsageExportQuery()
