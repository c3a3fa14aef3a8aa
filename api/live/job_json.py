"""Renders queued and processing jobs as JSON, directly from the job store's strings.

Nearly all live updates are about such a job, and its fields are numbers and words that the job
store holds the way JSON writes them. Building a ``Job``, a dictionary and JSON from them took half
of the cost of an update. Jobs that need more than copying (failures, links) are left to
``common/jobs/presenter.py``; the output is the same, byte for byte
(tests/unit/api/live/test_job_json.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from common.jobs.presenter import iso_seconds, sane_estimate


def can_render(fields: Mapping[str, str]) -> bool:
    """Return whether ``render_members`` can render the job.

    It is queued or processing, no attempt has failed, and no queue position has to be computed.
    """
    status = fields["status"]
    return (
        status == "processing" or (status == "queued" and not fields.get("turn"))
    ) and not fields.get("error_code")


def render_members(fields: Mapping[str, str]) -> str:
    """Return the job as a JSON object without its closing brace; only if ``can_render``."""
    get = fields.get
    updated = fields["updated_at"]
    seconds, completion = _estimate(get("seconds_remaining"), updated)
    return (
        f'{{"jobId":"{fields["id"]}","status":"{fields["status"]}","version":{fields["version"]},'
        f'"progress":{get("progress") or 0},"totalFiles":{fields["total_files"]},'
        f'"processedFiles":{get("processed_files") or 0},'
        f'"totalBytes":{get("total_bytes") or "null"},'
        f'"processedBytes":{get("processed_bytes") or "null"},"missingFiles":0,'
        f'"queuePosition":null,"estimatedSecondsRemaining":{seconds},"estimatedCompletion":{completion},'
        '"downloadUrl":null,"expiresAt":null,"availableUntil":null,"fileName":null,"fileSize":null,'
        '"contentType":null,"checksum":null,"error":null,"errorCode":null,"retryable":null,'
        '"retriesRemaining":null,'
        f'"attempt":{get("attempt") or 0},"maxAttempts":{fields["max_attempts"]},'
        f'"retryAt":{_time(get("retry_at"))},"priority":"{fields["priority"]}",'
        f'"metadata":{get("metadata") or "{}"},"downloads":{get("downloads") or 0},'
        f'"createdAt":{_time(fields["created_at"])},'
        f'"startedAt":{_time(get("started_at"))},"updatedAt":{_time(updated)},'
        f'"completedAt":{_time(get("completed_at"))}'
    )


def _estimate(seconds_remaining: str | None, updated: str) -> tuple[str, str]:
    """Return the remaining seconds and the time of completion, as JSON."""
    remaining = sane_estimate(float(seconds_remaining)) if seconds_remaining else None
    if remaining is None:
        return "null", "null"
    return str(round(remaining)), _time(str(int(updated) + round(remaining * 1000)))


def _time(ms: str | None) -> str:
    return f'"{_second(ms[:-3])}.{ms[-3:]}Z"' if ms else "null"


@lru_cache(maxsize=4096)
def _second(seconds: str) -> str:
    return iso_seconds(int(seconds))
