"""The JSON of a job that waits or runs, straight from the store's strings.

Nearly every event tells of such a job, and what it tells are numbers and words that the store holds
as JSON would write them. Making a ``Job`` of them, members of that, and text of those took half of
what an event costs. What needs more than copying, such as failures and links, is left to
``common/jobs/presenter.py``; what is said here is the same, byte for byte
(tests/unit/api/fast_path/test_job_json.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from common.jobs.presenter import iso, second


def suits(fields: Mapping[str, str]) -> bool:
    """Whether the job waits or runs, and no attempt has failed."""
    return fields["status"] in ("queued", "processing") and not fields.get("error_code")


def members(fields: Mapping[str, str]) -> str:
    """The job as a JSON object without its closing brace; ``fields`` have to suit."""
    get = fields.get
    updated = fields["updated_at"]
    seconds, completion = _rest(get("seconds_remaining"), updated)
    return (
        f'{{"jobId":"{fields["id"]}","status":"{fields["status"]}","version":{fields["version"]},'
        f'"progress":{get("progress") or 0},"totalFiles":{fields["total_files"]},'
        f'"processedFiles":{get("processed_files") or 0},'
        f'"totalBytes":{get("total_bytes") or "null"},'
        f'"processedBytes":{get("processed_bytes") or "null"},"queuePosition":null,'
        f'"estimatedSecondsRemaining":{seconds},"estimatedCompletion":{completion},'
        '"downloadUrl":null,"expiresAt":null,"fileName":null,"fileSize":null,"contentType":null,'
        '"checksum":null,"error":null,"errorCode":null,"retryable":null,"retriesRemaining":null,'
        f'"attempt":{get("attempt") or 0},"maxAttempts":{fields["max_attempts"]},'
        f'"retryAt":{_time(get("retry_at"))},"priority":"{fields["priority"]}",'
        f'"metadata":{get("metadata") or "{}"},"createdAt":{_time(fields["created_at"])},'
        f'"startedAt":{_time(get("started_at"))},"updatedAt":{_time(updated)},'
        f'"completedAt":{_time(get("completed_at"))}'
    )


def _rest(text: str | None, updated: str) -> tuple[str, str]:
    """The estimate: seconds, and when that will be."""
    if not text:
        return "null", "null"
    remaining = float(text)
    return str(round(remaining)), f'"{iso(int(updated) + round(remaining * 1000))}"'


def _time(ms: str | None) -> str:
    return f'"{_second(ms[:-3])}.{ms[-3:]}Z"' if ms else "null"


@lru_cache(maxsize=4096)
def _second(seconds: str) -> str:
    return second(int(seconds))
