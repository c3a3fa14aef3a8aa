"""A typed job. Members that this version does not support are in ``raw``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

FINISHED = frozenset({"completed", "failed", "cancelled", "expired"})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A snapshot of a job. Times are ISO 8601 strings, sizes bytes, durations seconds."""

    job_id: str
    status: str
    version: int
    progress: int = 0
    total_files: int | None = None
    processed_files: int | None = None
    total_bytes: int | None = None
    processed_bytes: int | None = None
    #: Requested files that the archive lacks (``on_missing="skip"``).
    missing_files: int = 0
    queue_position: int | None = None
    estimated_seconds_remaining: float | None = None
    file_name: str | None = None
    file_size: int | None = None
    content_type: str | None = None
    #: ``crc32:`` and eight hexadecimal digits.
    checksum: str | None = None
    #: A credential: anyone who has it can download the archive until ``expires_at``.
    download_url: str | None = None
    expires_at: str | None = None
    error: str | None = None
    error_code: str | None = None
    retryable: bool | None = None
    attempt: int | None = None
    max_attempts: int | None = None
    retry_at: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    #: Milliseconds between two polls, as recommended by the API.
    polling_interval: int | None = None
    deduplicated: bool = False
    #: The JSON object that the API sent.
    raw: Mapping[str, Any]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Job:
        """Create a job from its JSON. Raise ``KeyError`` if ``body`` is not a job."""
        members = {name: body[member] for name, member in _MEMBERS.items() if member in body}
        required = {"job_id": body["jobId"], "status": body["status"], "version": body["version"]}
        return cls(**{**members, **required, "raw": body})

    @property
    def finished(self) -> bool:
        """Whether the job is in a terminal state."""
        return self.status in FINISHED


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


_MEMBERS = {field.name: _camel(field.name) for field in fields(Job) if field.name != "raw"}
