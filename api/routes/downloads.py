"""Calls that create or restart jobs, and the check whether a file is available."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any, Final

from flask import Response, g, request
from flask_smorest import Blueprint

from api import job_creation, metrics, parsing
from api.auth import authorization
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.request_hooks import (
    client,
    client_address,
    require_creation_rate,
    require_list_rate,
    waiting_client,
)
from api.responses import base_url, json_response, retry_after
from api.schemas import requested_files
from api.schemas.job import AcceptedSchema
from api.schemas.requests import CHECK, FILE, INITIATE
from api.schemas.responses import CHECK_OR_LIST
from common.errors import BackendUnavailable
from common.jobs.model import Job, JobSpec
from common.sources import FileDescription, SourceFile
from common.task_group import TaskGroup

#: Seconds that a source may take to describe a file; ending its requests takes up to 0.7 more.
CHECK_SECONDS: Final = 1.0
#: Seconds more for each further file.
CHECK_SECONDS_PER_FILE: Final = 0.005
#: Files that all checks of a client in this process look for at the same time. All other requests
#: wait while the responses to these are processed.
MAX_LOOKUPS: Final = 32

blueprint = Blueprint("downloads", __name__, description="Start downloads")

_ACCEPTED = ResponseSpec(
    status=202,
    description="The job, which is not finished yet",
    schema=AcceptedSchema,
    headers=("Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed"),
)
_FINISHED = ResponseSpec(
    status=200,
    description="The finished job, if the request waited for it",
    schema=AcceptedSchema,
    headers=("Location", "Preference-Applied", "Idempotent-Replayed"),
)
_DEPRECATION = ("Deprecation", "Sunset", "Link")


@blueprint.route("/v1/download/async", methods=["POST"], endpoint="initiate_async")
@blueprint.route("/v1/download/initiate", methods=["POST"])
@blueprint.doc(
    **operation(
        _ACCEPTED,
        _FINISHED,
        body=INITIATE,
        headers=("Idempotency-Key", "Prefer"),
        errors=(403, 422),
    )
)
def initiate() -> Response:
    """Start a download of several files as one archive.

    The response does not wait for a worker. If you send a request again while an identical one is
    still running, you get its job instead of a new one.
    """
    body = parsing.body(INITIATE)
    authorization.confirm_caller(body["user_id"])
    file_ids, paths = requested_files.of_request(body)
    spec = JobSpec(
        file_ids=file_ids,
        paths=paths,
        manifest=body["manifest"],
        priority=body["priority"] or job_creation.default_priority(deps(), g.caller),
        on_missing=body["onMissing"],
        file_name=body["fileName"],
        callback_url=body["callbackUrl"],
        metadata=body["metadata"],
        expires_in=body["expiresIn"],
    )
    wait = parsing.preferred_wait()
    headers = {"Preference-Applied": f"wait={wait}"} if wait else {}
    return _create_and_wait(spec, wait, parsing.idempotency_key(), headers)


@blueprint.route("/v1/download/start", methods=["POST"])
@blueprint.doc(
    **operation(
        replace(_ACCEPTED, headers=(*_ACCEPTED.headers, *_DEPRECATION)),
        replace(_FINISHED, headers=(*_FINISHED.headers, *_DEPRECATION)),
        body=FILE,
        headers=("Idempotency-Key",),
        errors=(403, 422),
    )
)
def start() -> Response:
    """Download one file and wait for the result.

    If the job takes longer than the REQUEST_TIMEOUT of the service (30 seconds by default), the
    response is 202 and the job continues.
    New clients should use `/v1/download/initiate`, which can do the same with `Prefer: wait`.
    """
    body = parsing.body(FILE)
    authorization.confirm_caller(body["user_id"])
    priority = job_creation.default_priority(deps(), g.caller)
    spec = JobSpec(file_ids=(body["file_id"],), priority=priority)
    return _create_and_wait(spec, deps().request_timeout, parsing.idempotency_key(), {})


@blueprint.route("/v1/download/<job:job_id>/retry", methods=["POST"])
@blueprint.doc(**operation(_ACCEPTED, errors=(403, 404, 409)))
def retry(job_id: str) -> Response:
    """Run a failed job again, or a completed job whose archive lacks files."""
    require_creation_rate()
    job = job_creation.restart_job(deps(), g.caller, parsing.job_id(job_id))
    authorization.record_if_operator("retry", job)
    return _accepted(job, "The download has been queued again.", {})


@blueprint.route("/v1/download/check", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(
            status=200, description="Whether the files are available", schema=CHECK_OR_LIST
        ),
        body=CHECK,
        errors=(403,),
    )
)
def check() -> Response:
    """Check whether files are available, without creating a job.

    With `file_ids`, the response is a list in their order. A check counts as one request per ten
    files, and only eight of one user or address run at the same time.
    """
    body = parsing.body(CHECK)
    authorization.confirm_caller(body["user_id"])
    file_ids = body["file_ids"] if "file_ids" in body else (body["file_id"],)
    require_list_rate(len(file_ids))
    deps().file_access.require(g.caller, file_ids)
    sender = client()
    task_group = TaskGroup(_CheckDeadline(len(file_ids)), slots=_lookup_slots(sender.address))
    with deps().file_check_limit.held(sender):
        described = deps().source.describe(file_ids, task_group, cached={})
    checked = [_check_result(*pair) for pair in zip(file_ids, described, strict=True)]
    return json_response(checked if "file_ids" in body else checked[0])


def _lookup_slots(address: str) -> threading.Semaphore:
    """Return what limits the lookups of all checks of a client together."""
    return deps().lookup_slots.setdefault(address, threading.Semaphore(MAX_LOOKUPS))


def _check_result(file_id: int, file: FileDescription) -> dict[str, Any]:
    found = file if isinstance(file, SourceFile) else None
    return {
        "file_id": file_id,
        "available": found is not None,
        "size": found.size if found else None,
        "fileName": found.name if found else None,
    }


class _CheckDeadline:
    """Ends a check that takes too long, so that clients get 503: within two seconds for a file."""

    def __init__(self, files: int) -> None:
        self._deadline = time.monotonic() + CHECK_SECONDS + (files - 1) * CHECK_SECONDS_PER_FILE

    def check(self) -> None:
        if time.monotonic() > self._deadline:
            raise BackendUnavailable("The file source is not responding. Try again later.")


@blueprint.after_request
def _announce_deprecation(response: Response) -> Response:
    if request.endpoint == "downloads.start":
        response.headers.extend(deps().start_deprecation.headers())
    return response


def _create_and_wait(
    spec: JobSpec, wait: float, key: str | None, headers: dict[str, str]
) -> Response:
    dependencies = deps()
    creation = job_creation.count_creation(dependencies, g.caller, client_address())
    try:
        accepted = job_creation.create_job(
            dependencies, creation, g.caller, spec, key=key, traceparent=g.traceparent
        )
    finally:
        g.rate = creation.rate
    if accepted.outcome == "replayed":
        headers["Idempotent-Replayed"] = "true"
    with metrics.waiting_for_job():
        waiting = dependencies.waiting_requests
        job = waiting.wait_until_finished(waiting_client(), accepted.job, wait)
    finished = bool(wait) and job.terminal
    message = "The download is finished." if finished else job_creation.outcome_message(accepted)
    deduplicated = accepted.outcome == "deduplicated"
    return _accepted(job, message, headers, deduplicated=deduplicated, finished=finished)


def _accepted(
    job: Job,
    message: str,
    headers: dict[str, str],
    *,
    deduplicated: bool = False,
    finished: bool = False,
) -> Response:
    body = job_creation.accepted_body(deps(), job, base_url(), message, deduplicated=deduplicated)
    headers["Location"] = body["statusUrl"]
    if finished:
        return json_response(body, 200, headers)
    headers["Retry-After"] = retry_after()
    return json_response(body, 202, headers)
