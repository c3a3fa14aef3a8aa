"""Calls about one job, or about the caller's own."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, g, request
from flask_smorest import Blueprint

from api import pagination, parsing
from api.dependencies import deps
from api.errors import FAILURE_MESSAGES, JobCancelled, JobExpired, JobFailed, JobNotReady
from api.openapi import ResponseSpec, operation
from api.responses import json_answer, poll_after
from api.schemas.job import JobSchema
from api.schemas.requests import JOBS_QUERY, PAGE_QUERY, STATUS_QUERY
from api.schemas.responses import CancelledSchema, FilesSchema, JobsSchema, ResultSchema
from common.jobs.model import FileReport, Job
from common.jobs.transitions import JobState

blueprint = Blueprint("jobs", __name__, description="Watch, fetch and cancel jobs")

GONE: Final = frozenset({JobState.CANCELLED, JobState.EXPIRED})
_STATUS_HEADERS: Final = ("ETag", "Cache-Control")


@blueprint.route("/v1/download/status/<job:job_id>")
@blueprint.doc(
    **operation(
        ResponseSpec(
            status=200,
            meaning="The job",
            schema=JobSchema,
            headers=(*_STATUS_HEADERS, "Retry-After"),
        ),
        ResponseSpec(
            status=304, meaning="No newer version", headers=(*_STATUS_HEADERS, "Retry-After")
        ),
        ResponseSpec(
            status=410,
            meaning="The job, cancelled or expired",
            schema=JobSchema,
            headers=_STATUS_HEADERS,
        ),
        query=STATUS_QUERY,
        headers=("If-None-Match",),
        refusals=(404,),
    )
)
def status(job_id: str) -> Response:
    """One job as it is, or as soon as it has changed.

    With `wait` this is a long poll: the answer is held until the version moves past `since`, or
    past the ETag, or past what the job is at now when neither is given.
    """
    context = deps()
    job_id = parsing.job_id(job_id)
    asked = parsing.query(STATUS_QUERY) if request.query_string else {"wait": 0}
    job = context.queries.get(job_id)
    if asked["wait"] and not job.terminal:
        since = asked["since"]
        if since is None:
            since = max(parsing.versions_held(), default=job.version)
        if job.version <= since:
            job = context.live.wait_for(job_id, since, asked["wait"])
    return _snapshot(job)


def _snapshot(job: Job) -> Response:
    headers = {"ETag": f'"{job.version}"', "Cache-Control": "private, no-cache"}
    if job.status in GONE:
        return json_answer(deps().presenter.present(job), 410, headers)
    if not job.terminal:
        headers["Retry-After"] = poll_after()
    if parsing.holds(job.version):
        return Response(status=304, headers=headers)
    return json_answer(deps().presenter.present(job), 200, headers)


@blueprint.route("/v1/download/status/<job:job_id>/files")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="A page of the job's files", schema=FilesSchema),
        query=PAGE_QUERY,
        refusals=(404,),
    )
)
def files(job_id: str) -> Response:
    """How each file of a job fares, in the order of the request."""
    job_id = parsing.job_id(job_id)
    asked = parsing.query(PAGE_QUERY)
    start = pagination.offset(asked["cursor"])
    queries = deps().queries
    file_ids = queries.spec(job_id).file_ids
    end = start + asked["limit"]
    return json_answer(
        {
            "jobId": job_id,
            "totalFiles": len(file_ids),
            "files": [_file(report) for report in queries.files(job_id, file_ids[start:end])],
            "nextCursor": pagination.encode(end) if end < len(file_ids) else None,
        }
    )


def _file(report: FileReport) -> dict[str, Any]:
    return {
        "file_id": report.file_id,
        "state": report.state,
        "size": report.size,
        "fileName": report.name,
        "error": FAILURE_MESSAGES.get(report.error_code or ""),
        "errorCode": report.error_code,
    }


@blueprint.route("/v1/download/<job:job_id>")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="With Accept: application/json", schema=ResultSchema),
        ResponseSpec(status=302, meaning="To a freshly signed link", headers=("Location",)),
        refusals=(404, 409, 410),
    )
)
def result(job_id: str) -> Response:
    """The finished archive: a redirect to it, or its link as JSON."""
    context = deps()
    job = context.queries.get(parsing.job_id(job_id))
    url, expires_at = context.presenter.link(job)
    artifact = job.artifact
    if url is None or artifact is None:
        raise _no_archive(job)
    headers = {"Vary": "Accept"}
    if _wants_json():
        shown = {
            "downloadUrl": url,
            "expiresAt": expires_at,
            "fileName": artifact.name,
            "fileSize": artifact.size,
            "contentType": artifact.content_type,
        }
        return json_answer(shown, 200, headers)
    answer = Response(status=302, headers=headers)
    answer.location = url
    answer.autocorrect_location_header = False
    return answer


def _wants_json() -> bool:
    offered = ["application/octet-stream", "application/json"]
    return request.accept_mimetypes.best_match(offered, offered[0]) == offered[1]


def _no_archive(job: Job) -> Exception:
    shown = deps().presenter.present(job)
    if job.status is JobState.FAILED:
        return JobFailed(shown, job.failure.message if job.failure else "")
    if job.status is JobState.CANCELLED:
        return JobCancelled(shown)
    if job.terminal:
        return JobExpired(shown)
    return JobNotReady(shown, retry_after=float(poll_after()))


_CANCELLED = operation(
    ResponseSpec(status=200, meaning="It is cancelled, now or before", schema=CancelledSchema),
    refusals=(404, 409),
)


@blueprint.route("/v1/download/<job:job_id>", methods=["DELETE"], endpoint="delete")
@blueprint.route("/v1/download/cancel/<job:job_id>", methods=["POST"])
@blueprint.doc(**_CANCELLED)
def cancel(job_id: str) -> Response:
    """Cancel a job that is not finished; a running one stops within a second."""
    job = deps().jobs.cancel(parsing.job_id(job_id))
    return json_answer(
        {"jobId": job.id, "status": job.status.value, "message": "The job is cancelled"}
    )


@blueprint.route("/v1/download/jobs")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="A page of jobs", schema=JobsSchema), query=JOBS_QUERY
    )
)
def jobs() -> Response:
    """The caller's own jobs, newest first."""
    context = deps()
    asked = parsing.query(JOBS_QUERY)
    before = pagination.position(asked["cursor"])
    page, more = context.remembered.page(
        g.caller.user, before=before, limit=asked["limit"], status=asked["status"]
    )
    last = page[-1] if page and more else None
    return json_answer(
        {
            "jobs": [context.presenter.present(job) for job in page],
            "nextCursor": pagination.encode([last.created_at, last.id]) if last else None,
        }
    )
