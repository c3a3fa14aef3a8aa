"""Schemathesis hooks: send half of the calls to existing jobs and keep waits short.

Generated calls change the jobs, so new jobs in every state are created regularly. A stream of an
unfinished job would not end, so streams are only opened for finished jobs.
"""

from __future__ import annotations

import os
import re
from typing import Any

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import FuzzingPhaseData

from common.bootstrap import connect
from common.job_store import keys
from common.jobs.model import Artifact, Failure, JobSpec, Progress
from common.settings import Settings

PATH = ParameterLocation.PATH
STATES = ("queued", "processing", "completed", "failed", "cancelled")
#: With a history: a job that only the history knows.
FORGOTTEN = "forgotten"
#: States that no call changes.
FINISHED = ("completed", "cancelled")
RENEW_EVERY = 100
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ARTIFACT = Artifact(
    bucket="archives", key="a.zip", name="a.zip", size=22, content_type="application/zip"
)

settings = Settings.from_env()
services = connect(settings, timeout=5)
store = services.jobs
user = os.environ["CONFORMANCE_USER"]
calls = 0
jobs: dict[str, str] = {}


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    if path_parameters and "job_id" in path_parameters:
        found = list(jobs_by_state().values())
        choice = hash(path_parameters["job_id"]) % (2 * len(found))
        if choice < len(found):
            path_parameters["job_id"] = found[choice]
    return path_parameters


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    parameters = case.path_parameters or {}
    if case.path.endswith(("/stream", "/subscribe/{job_id}")) and "job_id" in parameters:
        job_id = str(parameters["job_id"])
        if UUID.fullmatch(job_id):
            parameters["job_id"] = jobs_by_state()[FINISHED[len(job_id) % len(FINISHED)]]
    if UUID.fullmatch(str(parameters.get("job_id"))):
        forget_mutations_of_the_path(case)
    # With an invented transfer coding the bytes are no HTTP request: they do not reach the API.
    for name in list(case.headers or {}):
        if name.lower() == "transfer-encoding":
            del case.headers[name]
    # A long poll of one second tests the same as one of a minute.
    wait = (case.query or {}).get("wait")
    if (isinstance(wait, int) and 1 < wait <= 60) or (isinstance(wait, str) and wait.isdecimal()):
        case.query["wait"] = 1
    preference = (case.headers or {}).get("Prefer")
    if preference:
        case.headers["Prefer"] = re.sub(r"\d+", "1", preference)


def forget_mutations_of_the_path(case: Any) -> None:
    """Let Schemathesis expect no rejection because of a path that a hook has made valid."""
    data = case.meta.phase.data if case.meta else None
    if not isinstance(data, FuzzingPhaseData):
        return
    kept = tuple(each for each in data.mutations if each.parameter_location != PATH)
    if kept and len(kept) < len(data.mutations):
        data.mutations, data.parameter_location = kept, kept[0].parameter_location


def jobs_by_state() -> dict[str, str]:
    """Return a job in each state, by the state's name."""
    global calls
    if calls % RENEW_EVERY == 0:
        if settings.database_url and "completed" in jobs:
            # By now, the recorder has read it.
            jobs[FORGOTTEN] = jobs["completed"]
            services.redis.delete(keys.status(jobs[FORGOTTEN]))
        jobs.update({state: create_job_in(state, number) for number, state in enumerate(STATES)})
    calls += 1
    return jobs


def create_job_in(state: str, number: int) -> str:
    job_id = store.create(user, JobSpec(file_ids=(calls + number + 1, 2))).job.id
    if state in ("processing", "completed", "failed"):
        claim = store.claim(job_id, "w")
        if claim is None:
            return job_id
        if state == "completed":
            store.complete(claim.lease, ARTIFACT, Progress(processed_files=2))
        if state == "failed":
            failure = Failure(code="FILE_NOT_FOUND", message="File not found", retryable=False)
            store.fail(claim.lease, failure)
    if state == "cancelled":
        store.cancel(job_id)
    return job_id
