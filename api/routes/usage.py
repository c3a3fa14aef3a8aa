"""Usage and plans of users, and the erasure of users."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from flask import Response, g
from flask_smorest import Blueprint

from api import parsing
from api.admin.user_erasure import Erased
from api.auth.callers import is_user_id, user_key
from api.dependencies import Dependencies, deps
from api.errors import ValidationFailed
from api.limits.plans import day_end
from api.openapi import ResponseSpec, operation
from api.responses import json_response
from api.schemas.usage import (
    USAGE_EXPORT_QUERY,
    USAGE_QUERY,
    ErasedSchema,
    UsageSchema,
)
from common.job_store.audit_log import AuditEntry
from common.jobs.model import PRIORITIES
from common.jobs.presenter import iso

if TYPE_CHECKING:
    from common.history.usage import UsageOfDay

#: Rows of one export: 10 MB.
MAX_ROWS: Final = 100_000
_CSV: Final = "text/csv"
_COLUMNS: Final = ("day", "user", "jobs", "completed", "failed", "cancelled", "bytes")
#: A cell that begins with one of these is a formula for spreadsheets (OWASP, "CSV Injection").
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

usage = Blueprint("usage", __name__, description="Plans and usage")
users = Blueprint("users", __name__, description="Operators: usage and erasure of users")


@usage.route("/v1/download/usage")
@usage.doc(
    **operation(
        ResponseSpec(status=200, description="Your plan and your usage", schema=UsageSchema),
        query=USAGE_QUERY,
    )
)
def own_usage() -> Response:
    """Return your plan, its limits, and what your jobs did on each of the last days."""
    dependencies = deps()
    today = datetime.now(UTC).date()
    first = today - timedelta(days=parsing.query(USAGE_QUERY)["days"] - 1)
    days = dependencies.job_history.usage(g.caller.user, first, today)
    plan = dependencies.plans.named(g.caller.plan) if dependencies.plans else None
    return json_response(
        {
            "plan": plan.name if plan else None,
            "limits": _limits(dependencies),
            "today": {
                "bytes": dependencies.queries.bytes_today(g.caller.user) if plan else None,
                "resetAt": iso(day_end(time.time()) * 1000),
            },
            "days": None
            if days is None
            else [
                {
                    "day": each.day.isoformat(),
                    "jobs": each.jobs,
                    "completed": each.completed,
                    "failed": each.failed,
                    "cancelled": each.cancelled,
                    "bytes": each.bytes,
                }
                for each in days
            ],
        }
    )


def _limits(dependencies: Dependencies) -> dict[str, Any]:
    limits = dependencies.jobs.limits
    if dependencies.plans is None:
        return {
            "priorities": list(PRIORITIES),
            "activeJobs": limits.max_active,
            "createsPerMinute": dependencies.rate_limiter.create_user,
            "bytesPerDay": None,
            "retention": int(limits.archive_ttl),
        }
    plan = dependencies.plans.named(g.caller.plan)
    return {
        "priorities": [priority.value for priority in plan.priorities],
        "activeJobs": plan.active_jobs,
        "createsPerMinute": plan.creates_per_minute,
        "bytesPerDay": plan.bytes_per_day,
        "retention": plan.retention or int(limits.archive_ttl),
    }


@users.route("/v1/admin/usage.csv")
@users.doc(
    **operation(
        ResponseSpec(status=200, description="CSV with a header line", media=_CSV),
        query=USAGE_EXPORT_QUERY,
        errors=(403, 404),
    )
)
def export() -> Response:
    """Export the usage of all users as CSV, one line for each user and day."""
    query = parsing.query(USAGE_EXPORT_QUERY)
    rows = deps().job_history.usage_of_all(query["first"], query["last"], limit=MAX_ROWS + 1)
    if len(rows) > MAX_ROWS:
        message = f"These days have more than {MAX_ROWS} lines. Choose fewer days."
        raise ValidationFailed({"to": [message]})
    name = f"usage-{query['first']}-{query['last']}.csv"
    return Response(
        to_csv(rows),
        content_type=f"{_CSV}; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def to_csv(rows: Iterable[UsageOfDay]) -> str:
    """Return usage as CSV (RFC 4180), which spreadsheets open without running anything in it."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        counts = (row.jobs, row.completed, row.failed, row.cancelled, row.bytes)
        writer.writerow((row.day.isoformat(), _text(row.owner), *counts))
    return output.getvalue()


def _text(value: str) -> str:
    """Return a cell that is not a formula."""
    return f"'{value}" if value.startswith(_FORMULA) else value


@users.route("/v1/admin/users/<user:user_id>", methods=["DELETE"])
@users.doc(
    **operation(
        ResponseSpec(status=200, description="All data of the user is erased", schema=ErasedSchema),
        ResponseSpec(
            status=202,
            description="Part of the data is erased. Send the request again to continue",
            schema=ErasedSchema,
            headers=("Retry-After",),
        ),
        errors=(403,),
    )
)
def erase(user_id: str) -> Response:
    """Erase a user: cancel unfinished jobs, and delete jobs, links, history and archives.

    The user is the subject of the tokens, or the user ID that lists of jobs show. Archives that
    jobs of other users need are kept for those. Erasing a user again has no effect and succeeds.
    """
    user = user_id if is_user_id(user_id) else user_key(user_id)
    erased = deps().user_erasure.erase(user)
    deps().audit_log.record(_audit_entry(user, erased))
    body = {
        "userId": user,
        "complete": erased.is_complete,
        **vars(erased.counts),
        "history": erased.history,
    }
    if erased.is_complete:
        return json_response(body)
    return json_response(body, 202, {"Retry-After": "1"})


def _audit_entry(user: str, erased: Erased) -> AuditEntry:
    """Return the entry, which names the erased user by a digest only."""
    return AuditEntry(
        action="erase",
        subject=g.caller.user if g.caller.admin else "",
        matched=erased.counts.jobs,
        changed=erased.counts.jobs,
        parameters={"userDigest": hashlib.sha256(user.encode()).hexdigest()},
        request_id=g.request_id,
    )
