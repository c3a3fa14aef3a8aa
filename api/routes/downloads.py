"""Calls that make or restart jobs, and the one that looks before asking."""

from __future__ import annotations

from flask import Response, g
from flask_smorest import Blueprint

from api import job_creation, parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.request_hooks import client_address, count_creation
from api.responses import base_url, json_answer, poll_after
from api.schemas.job import AcceptedSchema
from api.schemas.requests import FILE, INITIATE
from api.schemas.responses import CheckSchema
from api.waiting import wait_for_end
from common.jobs.model import Job, JobSpec

blueprint = Blueprint("downloads", __name__, description="Ask for files")

_ACCEPTED = ResponseSpec(
    status=202,
    meaning="The job, to be watched",
    schema=AcceptedSchema,
    headers=("Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed"),
)
_FINISHED = ResponseSpec(
    status=200,
    meaning="The finished job, where it was waited for",
    schema=AcceptedSchema,
    headers=("Location", "Preference-Applied", "Idempotent-Replayed"),
)


@blueprint.route("/v1/download/async", methods=["POST"], endpoint="initiate_async")
@blueprint.route("/v1/download/initiate", methods=["POST"])
@blueprint.doc(
    **operation(
        _ACCEPTED,
        _FINISHED,
        body=INITIATE,
        headers=("Idempotency-Key", "Prefer"),
        refusals=(422,),
    )
)
def initiate() -> Response:
    """Gather files into one archive.

    Answers at once; the work is done by workers, whether or not one is running now. An identical
    request of the same caller that is still in flight gets the running job back.
    """
    asked = parsing.body(INITIATE)
    file_ids = asked["file_ids"] if "file_ids" in asked else (asked["file_id"],)
    spec = JobSpec(
        file_ids=file_ids,
        priority=asked["priority"],
        on_missing=asked["onMissing"],
        file_name=asked["fileName"],
        callback_url=asked["callbackUrl"],
        metadata=asked["metadata"],
    )
    wait = parsing.preferred_wait()
    applied = {"Preference-Applied": f"wait={wait}"} if wait else {}
    return _accept(spec, wait, parsing.idempotency_key(), applied)


@blueprint.route("/v1/download/start", methods=["POST"])
@blueprint.doc(
    **operation(_ACCEPTED, _FINISHED, body=FILE, headers=("Idempotency-Key",), refusals=(422,))
)
def start() -> Response:
    """Gather one file and wait for it.

    Waits as long as a proxy would; a job that takes longer is answered with 202 and goes on.
    """
    asked = parsing.body(FILE)
    spec = JobSpec(file_ids=(asked["file_id"],))
    return _accept(spec, deps().request_timeout, parsing.idempotency_key(), {})


@blueprint.route("/v1/download/<job:job_id>/retry", methods=["POST"])
@blueprint.doc(**operation(_ACCEPTED, refusals=(404, 409)))
def retry(job_id: str) -> Response:
    """Run a failed job again, or a completed one whose archive misses files."""
    count_creation()
    job = deps().jobs.restart(parsing.job_id(job_id))
    return _accepted(job, "The job runs again", {})


@blueprint.route("/v1/download/check", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="Whether the file can be had", schema=CheckSchema),
        body=FILE,
    )
)
def check() -> Response:
    """Look whether a file is there, without a job."""
    file_id = parsing.body(FILE)["file_id"]
    found = deps().catalogue.find(file_id)
    return json_answer(
        {
            "file_id": file_id,
            "available": found is not None,
            "size": found.size if found else None,
            "fileName": found.name if found else None,
        }
    )


def _accept(spec: JobSpec, wait: float, key: str | None, headers: dict[str, str]) -> Response:
    context = deps()
    creation = context.limiter.creating(client_address())
    try:
        accepted = job_creation.accept(
            context, creation, g.caller.user, spec, key=key, traceparent=g.traceparent
        )
    finally:
        g.rate = creation.rate
    if accepted.outcome == "replayed":
        headers["Idempotent-Replayed"] = "true"
    job = wait_for_end(context.live, accepted.job, wait)
    finished = bool(wait) and job.terminal
    message = "The job is finished" if finished else job_creation.message(accepted)
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
    body = job_creation.description(deps(), job, base_url(), message, deduplicated=deduplicated)
    headers["Location"] = body["statusUrl"]
    if finished:
        return json_answer(body, 200, headers)
    headers["Retry-After"] = poll_after()
    return json_answer(body, 202, headers)
