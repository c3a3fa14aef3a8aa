"""Calls for operators that read the history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_response
from api.schemas.history import HOURS_QUERY, AnalyticsSchema, JobRecordSchema
from common.jobs.presenter import iso

blueprint = Blueprint("history", __name__, description="History")

#: Member of the response -> column of the database.
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

_DOWNLOAD = {"linkId": "link_id"} | {name: name for name in ("at", "network")}


@blueprint.route("/v1/admin/analytics")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="Statistics by hour", schema=AnalyticsSchema),
        query=HOURS_QUERY,
        errors=(404,),
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
        ResponseSpec(status=200, description="The job's history", schema=JobRecordSchema),
        errors=(404,),
    )
)
def job_record(job_id: str) -> Response:
    """Return the history of a job: state changes, attempts, files, webhook deliveries, and counted
    downloads."""
    dependencies = deps()
    record = dependencies.job_history.job_record(parsing.job_id(job_id))
    return json_response(
        {
            "job": dependencies.presenter.present(record.job),
            "user": record.job.user,
            "changes": [_members(row, _CHANGE) for row in record.changes],
            "attempts": [_members(row, _ATTEMPT) for row in record.attempts],
            "files": [_members(row, _FILE) for row in record.files],
            "deliveries": [_members(row, _DELIVERY) for row in record.deliveries],
            "downloads": [_members(row, _DOWNLOAD) for row in record.downloads],
        }
    )


def _members(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    members = {name: row[column] for name, column in columns.items()}
    return {
        name: _iso(value) if isinstance(value, datetime) else value
        for name, value in members.items()
    }


def _iso(at: datetime) -> str | None:
    return iso(round(at.timestamp() * 1000))
