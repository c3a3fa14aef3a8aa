"""Calls about one job, and the list of the user's jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from flask import Response, g, request
from flask_smorest import Blueprint
from werkzeug.exceptions import PreconditionFailed

from api import metrics, pagination, parsing
from api.auth import authorization
from api.dependencies import deps
from api.errors import FAILURE_MESSAGES
from api.job_results import no_archive
from api.live.long_poll import FINISHED, WaitUntil
from api.openapi import ResponseSpec, operation
from api.request_hooks import client_address, require_list_rate, waiting_client
from api.responses import GONE, json_response, no_content, retry_after
from api.schemas.job import JOB_OR_MEMBERS
from api.schemas.requests import JOBS_QUERY, PAGE_QUERY, STATUS_QUERY
from api.schemas.responses import CancelledSchema, FilesSchema, JobsSchema, ResultSchema
from common.errors import FileForbidden
from common.jobs.model import FileReport, Job

blueprint = Blueprint("jobs", __name__, description="Watch, download, and cancel jobs")

#: The headers of every response that contains the status of a job.
_STATUS_HEADERS: Final = ("ETag", "Cache-Control")


@blueprint.route("/v1/download/status/<job:job_id>")
@blueprint.doc(
    **operation(
        ResponseSpec(
            status=200,
            description="The job",
            schema=JOB_OR_MEMBERS,
            headers=(*_STATUS_HEADERS, "Retry-After"),
        ),
        ResponseSpec(
            status=304,
            description="The job has not changed, and its downloadUrl still works",
            headers=(*_STATUS_HEADERS, "Retry-After"),
        ),
        ResponseSpec(
            status=410,
            description="The job was cancelled or has expired",
            schema=JOB_OR_MEMBERS,
            headers=_STATUS_HEADERS,
        ),
        query=STATUS_QUERY,
        headers=("If-None-Match",),
        errors=(404, 412),
    )
)
def status(job_id: str) -> Response:
    """Return a job, immediately or as soon as it changes.

    With `wait` this is a long poll: the response is sent when the version of the job is greater
    than `since`. The default of `since` is the version in If-None-Match, or else the current one.
    With `minProgress`, the progress must also have reached that percentage, and without
    If-None-Match, `since` defaults to 0 instead of the current version. With `until=finished`, only
    the end of the job counts. The end of the job and the end of `wait` always end the long poll.
    """
    dependencies = deps()
    job_id = parsing.job_id(job_id)
    if not request.query_string:
        return _status_response(dependencies.queries.get(job_id))
    query = parsing.query(STATUS_QUERY)
    job = dependencies.queries.get(job_id)
    if query["wait"]:
        until = _wait_until(query, job)
        if not until.met_by(job):
            with metrics.waiting_for_job():
                job = dependencies.waiting_requests.wait_for_job(
                    waiting_client(), job_id, until, query["wait"]
                )
    return _status_response(job, query["members"])


def _wait_until(query: Mapping[str, Any], job: Job) -> WaitUntil:
    if query["until"] == "finished":
        return FINISHED
    since = query["since"]
    if since is None:
        current = 0 if query["minProgress"] else job.version
        since = max(parsing.if_none_match_versions(), default=current)
    return WaitUntil(since=since, min_progress=query["minProgress"])


def _status_response(job: Job, members: Sequence[str] = ()) -> Response:
    """Return the job, or only these members of it."""
    presenter = deps().presenter
    etag = presenter.etag(job)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    gone = job.status in GONE
    if not gone and parsing.if_match_fails(etag):
        raise PreconditionFailed
    if not job.terminal:
        headers["Retry-After"] = retry_after()
    if not gone and parsing.if_none_match_covers(etag):
        return Response(status=304, headers=headers)
    body = presenter.present(job)
    if members:
        body = {name: body[name] for name in members}
    return json_response(body, 410 if gone else 200, headers)


@blueprint.route("/v1/download/status/<job:job_id>/files")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="A page of the job's files", schema=FilesSchema),
        query=PAGE_QUERY,
        errors=(404,),
    )
)
def files(job_id: str) -> Response:
    """List the files of a job with their state, in the order of the request.

    A call counts as one request per ten files that it returns.
    """
    job_id = parsing.job_id(job_id)
    query = parsing.query(PAGE_QUERY)
    start = pagination.decode_offset(query["cursor"])
    queries = deps().queries
    spec = queries.spec(job_id)
    file_ids = spec.file_ids
    end = start + query["limit"]
    require_list_rate(len(file_ids[start:end]))
    reports = queries.files(job_id, file_ids[:end], start=start)
    paths = spec.paths[start:end]
    hidden = deps().file_access.hidden(g.caller, job_id, file_ids[start:end])
    return json_response(
        {
            "jobId": job_id,
            "totalFiles": len(file_ids),
            "files": [
                _file(_forbidden(report) if report.file_id in hidden else report, path)
                for report, path in zip_longest(reports, paths)
            ],
            "nextCursor": pagination.encode_cursor(end) if end < len(file_ids) else None,
        }
    )


def _forbidden(report: FileReport) -> FileReport:
    return FileReport(file_id=report.file_id, state=report.state, error_code=FileForbidden.code)


def _file(report: FileReport, requested_path: str | None) -> dict[str, Any]:
    return {
        "file_id": report.file_id,
        "state": report.state,
        "size": report.size,
        "fileName": report.name and report.name.rpartition("/")[2],
        "path": report.name or requested_path,
        "error": report.error or FAILURE_MESSAGES.get(report.error_code or ""),
        "errorCode": report.error_code,
    }


@blueprint.route("/v1/download/<job:job_id>")
@blueprint.doc(
    **operation(
        ResponseSpec(
            status=200,
            description="With Accept: application/json. With DELIVERY=proxy, otherwise the archive",
            schema=ResultSchema,
        ),
        ResponseSpec(
            status=302, description="Redirect to a newly signed URL", headers=("Location",)
        ),
        errors=(403, 404, 409, 410, 501),
    )
)
def result(job_id: str) -> Response:
    """Download the finished archive: redirect to a signed URL, or return a URL as JSON.

    With DELIVERY=proxy the response is the archive itself.
    """
    delivery = deps().archive_delivery
    job = deps().queries.get(parsing.job_id(job_id))
    artifact = job.artifact
    url, expires_at = delivery.link(job)
    if url is None or artifact is None:
        raise no_archive(job)
    deps().file_access.require_download(g.caller, job)
    headers = {"Vary": "Accept"}
    if _prefers_json():
        body = {
            "downloadUrl": url,
            "expiresAt": expires_at,
            "fileName": artifact.name,
            "fileSize": artifact.size,
            "contentType": artifact.content_type,
        }
        return json_response(body, 200, headers)
    response = delivery.response(job)
    if response is None:
        raise no_archive(job)
    if request.method != "HEAD" and not delivery.continues_download():
        deps().download_links.count_download(job.id, client_address())
    response.headers.update(headers)
    return response


def _prefers_json() -> bool:
    offered = ["application/octet-stream", "application/json"]
    return request.accept_mimetypes.best_match(offered, offered[0]) == offered[1]


_CANCELLED = operation(
    ResponseSpec(status=200, description="The job is cancelled", schema=CancelledSchema),
    errors=(404, 409),
)


@blueprint.route("/v1/download/<job:job_id>", methods=["DELETE"], endpoint="delete")
@blueprint.route("/v1/download/cancel/<job:job_id>", methods=["POST"])
@blueprint.doc(**_CANCELLED)
def cancel(job_id: str) -> Response:
    """Cancel an unfinished job. A running job stops within a second.

    Cancelling a job again has no effect and succeeds.
    """
    job = deps().jobs.cancel(parsing.job_id(job_id), by=deps().operators.requester())
    authorization.record_if_operator("cancel", job)
    return json_response(
        {"jobId": job.id, "status": job.status.value, "message": "The download was cancelled."}
    )


@blueprint.route("/v1/download/<job:job_id>/archive", methods=["DELETE"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=204, description="The archive is deleted"),
        errors=(404, 409),
    )
)
def delete_archive(job_id: str) -> Response:
    """Delete the archive of a completed job before it expires.

    The job expires, and its links stop working. Other jobs that have the same archive keep it.
    Deleting an archive again has no effect and succeeds.
    """
    job = deps().jobs.delete_archive(parsing.job_id(job_id), by=deps().operators.requester())
    authorization.record_if_operator("delete-archive", job)
    return no_content()


@blueprint.route("/v1/download/jobs")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="A page of jobs", schema=JobsSchema), query=JOBS_QUERY
    )
)
def jobs() -> Response:
    """List your jobs, newest first.

    A page may have fewer jobs than `limit`, even none, although others follow: only a `nextCursor`
    of null means that it is the last one. A call counts as one request per ten jobs that it
    returns.
    """
    dependencies = deps()
    query = parsing.query(JOBS_QUERY)
    before = pagination.decode_position(query["cursor"])
    page, end = dependencies.job_history.page(
        g.caller.user, before=before, limit=query["limit"], status=query["status"]
    )
    require_list_rate(len(page))
    return json_response(
        {
            "jobs": [
                dependencies.presenter.present(job)
                for job in dependencies.file_access.redact(g.caller, page)
            ],
            "nextCursor": pagination.encode_cursor(list(end)) if end else None,
        }
    )
