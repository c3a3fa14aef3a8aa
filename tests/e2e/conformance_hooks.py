"""Loaded by schemathesis: sends half of the calls to jobs that exist, and keeps waits short."""

from __future__ import annotations

import os
import re
from typing import Any

import schemathesis

JOBS = os.environ["CONFORMANCE_JOBS"].split(",")


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    if path_parameters and "job_id" in path_parameters:
        choice = hash(path_parameters["job_id"]) % (2 * len(JOBS))
        if choice < len(JOBS):
            path_parameters["job_id"] = JOBS[choice]
    return path_parameters


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A long poll of a minute proves no more than one of a second."""
    wait = (case.query or {}).get("wait")
    if (isinstance(wait, int) and 1 < wait <= 60) or (isinstance(wait, str) and wait.isdecimal()):
        case.query["wait"] = 1
    preference = (case.headers or {}).get("Prefer")
    if preference:
        case.headers["Prefer"] = re.sub(r"\d+", "1", preference)
