"""Calls for operators about the jobs of all users, and the log of what operators did."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from flask import Response
from flask_smorest import Blueprint

from api import pagination, parsing
from api.admin.operator_actions import Action, Outcome
from api.auth.operators import current_operator
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_response
from api.schemas.explorer import (
    EXPLORER_QUERY,
    JOB_ACTIONS,
    MINUTES_QUERY,
    AuditLogSchema,
    ExploredJobSchema,
    JobActionsResultSchema,
    ListedJobsSchema,
    SamplesSchema,
)
from api.schemas.requests import PAGE_QUERY
from common.job_store.audit_log import AuditEntry
from common.jobs.filters import JobFilter
from common.jobs.model import Job
from common.jobs.presenter import iso

blueprint = Blueprint("explorer", __name__, description="Operators: jobs of all users, audit log")

#: Rejected jobs that a response names.
MAX_NAMED_REJECTIONS: Final = 20


@blueprint.route("/v1/admin/jobs")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="A page of jobs", schema=ListedJobsSchema),
        query=EXPLORER_QUERY,
        errors=(403,),
    )
)
def search() -> Response:
    """Search the jobs of all users, newest first.

    Unfinished jobs come from the job store, older ones from the history. A page may have fewer jobs
    than `limit`, even none, although others follow.
    """
    query = parsing.query(EXPLORER_QUERY)
    before = pagination.decode_position(query["cursor"])
    page = deps().job_explorer.page(_job_filter(query), before=before, limit=query["limit"])
    return json_response(
        {
            "jobs": [_listed(job) for job in page.jobs],
            "nextCursor": pagination.encode_cursor(list(page.end)) if page.end else None,
            "history": page.history,
            "partial": page.partial,
        }
    )


@blueprint.route("/v1/admin/jobs/<job:job_id>")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="The job", schema=ExploredJobSchema),
        errors=(403, 404),
    )
)
def job(job_id: str) -> Response:
    """Return what is known about a job: its attempts, files, webhooks, and a timeline."""
    dependencies = deps()
    found = dependencies.job_explorer.find(parsing.job_id(job_id))
    details = dependencies.job_details.read(found)
    actions = dependencies.operator_actions.allowed(found.job) if found.stored else []
    traceparent = found.job.traceparent
    return json_response(
        {
            "job": dependencies.presenter.present(found.job),
            "user": found.job.user,
            "changes": details.changes,
            "attempts": details.attempts,
            "files": details.files,
            "deliveries": details.deliveries,
            "downloads": details.downloads,
            "timeline": details.timeline,
            "actions": [action.value for action in actions],
            "worker": found.job.worker,
            "traceId": traceparent.split("-")[1] if traceparent else None,
            "history": found.history,
        }
    )


@blueprint.route("/v1/admin/job-actions", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(
            status=200, description="What was changed, or would be", schema=JobActionsResultSchema
        ),
        body=JOB_ACTIONS,
        errors=(403,),
    )
)
def act() -> Response:
    """Cancel, retry, requeue, or prioritize jobs: those with these IDs, or all that a filter finds.

    `cancel` applies to unfinished jobs, `retry` to failed jobs (by ID also to completed ones whose
    archive lacks files), `requeue` to dead letters, the failed jobs that may succeed this time, and
    `prioritize` to queued jobs; a filter leaves out those that already have the priority. A request
    tries a limited number of jobs. With a filter, repeat the request as long as both `remaining`
    and `changed` are greater than 0. `jobIds` are tried in their order: while `remaining` is not 0,
    repeat the request without the first `matched` - `remaining` of them. With `dryRun`, jobs are
    only counted.
    """
    body = parsing.body(JOB_ACTIONS)
    action: Action = body["action"]
    chosen = _job_filter(body["filter"]) if "filter" in body else [*map(str, body["jobIds"])]
    as_of = time.time_ns() // 1_000_000
    actions = deps().operator_actions
    if body["dryRun"]:
        candidates = actions.candidates(action, chosen, body["priority"])
        outcome = Outcome(matched=len(candidates.job_ids), more=candidates.more)
    else:
        outcome = actions.run(
            action, chosen, operator=current_operator(), priority=body["priority"]
        )
    return json_response(
        {
            "action": action.value,
            "dryRun": body["dryRun"],
            "asOf": iso(as_of),
            "matched": outcome.matched,
            "more": outcome.more,
            "changed": len(outcome.changed),
            "remaining": outcome.remaining,
            "rejected": [
                {"jobId": each.job_id, "errorCode": each.code, "error": each.message}
                for each in outcome.rejected[:MAX_NAMED_REJECTIONS]
            ],
        }
    )


@blueprint.route("/v1/admin/audit")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="A page of actions", schema=AuditLogSchema),
        query=PAGE_QUERY,
        errors=(403,),
    )
)
def audit_log() -> Response:
    """List what operators did to jobs and to the queue, newest first: the last 10,000 actions."""
    query = parsing.query(PAGE_QUERY)
    before = pagination.decode_entry_id(query["cursor"])
    entries, more = deps().audit_log.page(before=before, limit=query["limit"])
    return json_response(
        {
            "entries": [_audit_entry(entry) for entry in entries],
            "nextCursor": pagination.encode_cursor(entries[-1].id) if more else None,
        }
    )


@blueprint.route("/v1/admin/statistics")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="Samples of the statistics", schema=SamplesSchema),
        query=MINUTES_QUERY,
        errors=(403,),
    )
)
def statistics() -> Response:
    """Return the queue's statistics of the last hours, about one sample per minute."""
    samples = deps().statistics_log.newest(parsing.query(MINUTES_QUERY)["minutes"])
    return json_response(
        {"samples": [{**vars(sample), "at": iso(sample.at)} for sample in samples]}
    )


def _job_filter(conditions: Mapping[str, Any]) -> JobFilter:
    status, priority = conditions["status"], conditions["priority"]
    return JobFilter(
        user=conditions["user"],
        statuses=None if status is None else frozenset({status}),
        error_code=conditions["errorCode"],
        priorities=None if priority is None else frozenset({priority}),
        created_from=_milliseconds(conditions["created_from"]),
        created_before=_milliseconds(conditions["created_before"]),
        id_prefix=(conditions["q"] or "").lower(),
    )


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def _listed(job: Job) -> dict[str, Any]:
    return {
        "jobId": job.id,
        "userId": job.user,
        "status": job.status.value,
        "version": job.version,
        "priority": job.priority.value,
        "progress": job.progress,
        "totalFiles": job.total_files,
        "fileSize": job.artifact.size if job.artifact else None,
        "attempt": job.attempt,
        "maxAttempts": job.max_attempts,
        "retryAt": iso(job.retry_at),
        "worker": job.worker,
        "error": job.failure.message if job.failure else None,
        "errorCode": job.failure.code if job.failure else None,
        "createdAt": iso(job.created_at),
        "startedAt": iso(job.started_at),
        "updatedAt": iso(job.updated_at),
        "completedAt": iso(job.completed_at),
    }


def _audit_entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": iso(entry.at),
        "action": entry.action,
        "operator": entry.subject or None,
        "matched": entry.matched,
        "changed": entry.changed,
        "jobIds": entry.job_ids,
        "parameters": entry.parameters,
        "requestId": entry.request_id,
    }
