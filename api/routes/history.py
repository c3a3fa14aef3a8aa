"""What operators look up in history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_answer
from api.schemas.history import HOURS_QUERY, AnalyticsSchema, JobRecordSchema
from common.jobs.presenter import iso

blueprint = Blueprint("history", __name__, description="What happened")


@blueprint.route("/v1/admin/analytics")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="The last hours", schema=AnalyticsSchema),
        query=HOURS_QUERY,
        refusals=(404,),
    )
)
def analytics() -> Response:
    """How many jobs came and ended in each hour, how well, how fast and how large."""
    hours = deps().remembered.hours(parsing.query(HOURS_QUERY)["hours"])
    return json_answer(
        {
            "hours": [
                {
                    "start": _time(hour.start),
                    "created": hour.created,
                    "completed": hour.completed,
                    "failed": hour.failed,
                    "cancelled": hour.cancelled,
                    "retried": hour.retried,
                    "bytes": hour.bytes,
                    "successRate": hour.success_rate,
                    "durations": {
                        f"p{percent}": round(hour.durations[percent]) if hour.durations else None
                        for percent in (50, 95, 99)
                    },
                }
                for hour in hours
            ]
        }
    )


@blueprint.route("/v1/admin/jobs/<job:job_id>")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="The job's whole story", schema=JobRecordSchema),
        refusals=(404,),
    )
)
def dossier(job_id: str) -> Response:
    """One job as it was recorded, with its changes, attempts, files and webhooks."""
    context = deps()
    found = context.remembered.dossier(parsing.job_id(job_id))
    return json_answer(
        {
            "job": context.presenter.present(found.job),
            "user": found.job.user,
            "changes": [_shown(row, _CHANGE) for row in found.changes],
            "attempts": [_shown(row, _ATTEMPT) for row in found.attempts],
            "files": [_shown(row, _FILE) for row in found.files],
            "deliveries": [_shown(row, _DELIVERY) for row in found.deliveries],
        }
    )


#: Member -> column.
_CHANGE = {"errorCode": "error_code"} | {
    name: name for name in ("version", "status", "attempt", "worker", "at")
}
_ATTEMPT = {"startedAt": "started_at", "endedAt": "ended_at", "errorCode": "error_code"} | {
    name: name for name in ("attempt", "worker", "outcome", "error")
}
_FILE = {"fileName": "name", "errorCode": "error_code"} | {
    name: name for name in ("file_id", "state", "size")
}
_DELIVERY = {"durationMs": "duration_ms", "status": "http_status"} | {
    name: name for name in ("version", "attempt", "at", "error", "state")
}


def _shown(row: Mapping[str, Any], members: Mapping[str, str]) -> dict[str, Any]:
    shown = {member: row[column] for member, column in members.items()}
    return {
        name: _time(value) if isinstance(value, datetime) else value
        for name, value in shown.items()
    }


def _time(at: datetime) -> str | None:
    return iso(round(at.timestamp() * 1000))
