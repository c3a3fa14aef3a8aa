"""Statistics from the history, for operators."""

from __future__ import annotations

from datetime import datetime

from flask import Response
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_response
from api.schemas.history import HOURS_QUERY, AnalyticsSchema
from common.jobs.presenter import iso

blueprint = Blueprint("history", __name__, description="Operators: analytics")


@blueprint.route("/v1/admin/analytics")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="Statistics by hour", schema=AnalyticsSchema),
        query=HOURS_QUERY,
        errors=(403, 404),
    )
)
def analytics() -> Response:
    """Return job counts, durations, and archive sizes for each of the last hours."""
    hours = deps().job_history.hours(parsing.query(HOURS_QUERY)["hours"])
    return json_response(
        {
            "hours": [
                {
                    "start": _iso(hour.start),
                    "created": hour.created,
                    "completed": hour.completed,
                    "failed": hour.failed,
                    "cancelled": hour.cancelled,
                    "retried": hour.retried,
                    "bytes": hour.bytes,
                    "successRate": hour.success_rate,
                    "durations": {
                        "avg": None if hour.average is None else round(hour.average),
                        **{
                            f"p{percent}": round(hour.durations[percent])
                            if hour.durations
                            else None
                            for percent in (50, 95, 99)
                        },
                    },
                }
                for hour in hours
            ]
        }
    )


def _iso(at: datetime) -> str | None:
    return iso(round(at.timestamp() * 1000))
