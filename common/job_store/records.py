"""How parts of a job lie in the store: as flat fields or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from common.jobs.model import Failure, FileReport, JobSpec, OnMissing, Priority, Progress, WakeUp
from common.jobs.transitions import JobState


def first_fields(
    job_id: str,
    user: str,
    spec: JobSpec,
    *,
    digest: str,
    max_attempts: int,
    traceparent: str | None,
) -> dict[str, str]:
    """A new job's hash, but for its version and times, and for what is nought yet or empty.

    ``digest``: of the request.
    """
    fields: dict[str, str] = {
        "id": job_id,
        "user": user,
        "status": JobState.QUEUED,
        "priority": spec.priority,
        "lane": spec.priority,
        "on_missing": spec.on_missing,
        "max_attempts": str(max_attempts),
        "total_files": str(len(spec.file_ids)),
        "digest": digest,
    }
    if spec.metadata:
        fields["metadata"] = orjson.dumps(spec.metadata).decode()
    if spec.callback_url:
        fields["callback_url"] = spec.callback_url
    if traceparent:
        fields["traceparent"] = traceparent
    return fields


def progress_fields(progress: Progress, *, percent: int) -> dict[str, object]:
    remaining = progress.seconds_remaining
    return {
        "progress": percent,
        "processed_files": progress.processed_files,
        "total_bytes": progress.total_bytes,
        "processed_bytes": progress.processed_bytes,
        "seconds_remaining": None if remaining is None else f"{remaining:.1f}",
    }


def failure_fields(failure: Failure) -> dict[str, object]:
    return {
        "error": failure.message,
        "error_code": failure.code,
        "retryable": int(failure.retryable),
    }


def reports_json(files: Iterable[FileReport]) -> str | None:
    """A JSON object, file id -> report as JSON text; None when there is nothing to report."""
    reports = {str(report.file_id): orjson.dumps(report).decode() for report in files}
    return orjson.dumps(reports).decode() if reports else None


def decode_spec(text: str) -> JobSpec:
    fields = orjson.loads(text)
    typed = {
        "file_ids": tuple(fields["file_ids"]),
        "priority": Priority(fields["priority"]),
        "on_missing": OnMissing(fields["on_missing"]),
    }
    return JobSpec(**{**fields, **typed})


def decode_wake_ups(hints: Sequence[str]) -> list[WakeUp]:
    """What a script hands out for others to send: id, priority and time, again and again."""
    return [
        WakeUp(job_id=job_id, priority=priority, sent=int(sent))
        for job_id, priority, sent in zip(hints[::3], hints[1::3], hints[2::3], strict=True)
    ]
