"""How parts of a job are stored: as flat fields or as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

import orjson

from common.jobs.model import (
    NO_GRANT,
    Failure,
    FileGrant,
    FileReport,
    JobSpec,
    OnMissing,
    Priority,
    Progress,
    WakeUp,
    known_members,
)
from common.jobs.transitions import JobState

#: The end of the JSON of a request with defaults for all members that followed ``metadata``.
_NEW_DEFAULTS: Final = orjson.dumps(JobSpec(file_ids=())).partition(b'"metadata":{}')[2]


def required_fields(
    job_id: str, user: str, spec: JobSpec, *, digest: str, max_attempts: int
) -> dict[str, str]:
    """Return the fields that the hash of every new job has, without version, times and turn.

    create.lua gets them by position. ``digest``: of the request.
    """
    return {
        "id": job_id,
        "user": user,
        # The priority that the job is queued with; it rises while the job waits.
        "lane": spec.priority.value,
        "digest": digest,
        "status": JobState.QUEUED.value,
        "priority": spec.priority.value,
        "on_missing": spec.on_missing.value,
        "max_attempts": str(max_attempts),
        "total_files": str(len(spec.file_ids)),
    }


def optional_fields(
    spec: JobSpec, *, traceparent: str | None, email: str | None, idempotent: bool
) -> dict[str, str]:
    """Return the other fields of a new job: those that are not empty.

    ``idempotent``: the request has an Idempotency-Key.
    """
    fields: dict[str, str] = {}
    if spec.metadata:
        fields["metadata"] = orjson.dumps(spec.metadata).decode()
    if spec.callback_url:
        fields["callback_url"] = spec.callback_url
    if traceparent:
        fields["traceparent"] = traceparent
    if spec.expires_in is not None:
        fields["expires_in"] = str(milliseconds(spec.expires_in))
    if email:
        fields["email"] = email
    if idempotent:
        fields["idempotent"] = "1"
    return fields


def terms_fields(*, plan: str, expires_in: int | None) -> dict[str, str]:
    """Return what the hash of a new job has in addition if its user has a plan."""
    fields = {"plan": plan}
    if expires_in is not None:
        fields["expires_in"] = str(milliseconds(expires_in))
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
    """Return the reports as a JSON object, by field and as JSON text; None without reports."""
    reports = {
        report_field(report.file_id, report.copy): orjson.dumps(report).decode() for report in files
    }
    return orjson.dumps(reports).decode() if reports else None


def report_field(file_id: int, copy: int) -> str:
    """Return the field of a report in the hash of a job's files."""
    return f"{file_id}:{copy}" if copy else str(file_id)


def encode_request(spec: JobSpec, grant: FileGrant) -> tuple[str, str]:
    """Return what is stored of a request, and the digest by which equal requests are found.

    The claims are not part of the digest, because every new token of a user has others. The
    forbidden files are: a request that may have more files is not the same.
    """
    encoded = _encode_spec(spec)
    digest = hashlib.sha256(encoded)
    if grant == NO_GRANT:
        return encoded.decode(), digest.hexdigest()
    if grant.forbidden:
        digest.update(orjson.dumps(grant.forbidden))
    stored = f'{encoded[:-1].decode()},"grant":{orjson.dumps(grant).decode()}}}'
    return stored, digest.hexdigest()


def _encode_spec(spec: JobSpec) -> bytes:
    """Return the request as JSON.

    Without the members that earlier releases lack, it is the same as in those, and so is its
    digest. If it has paths or a manifest, it lacks ``file_ids``, so that earlier releases return
    the job to the queue instead of building an archive without them.
    """
    encoded = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
    if encoded.endswith(_NEW_DEFAULTS):
        return encoded.removesuffix(_NEW_DEFAULTS) + b"}"
    if not spec.paths and not spec.manifest:
        return encoded
    members = orjson.loads(encoded)
    files = list(zip_longest(members.pop("file_ids"), members.pop("paths")))
    return orjson.dumps({"files": files, **members})


def decode_grant(text: str) -> FileGrant:
    fields = orjson.loads(text).get("grant")
    if fields is None:
        return NO_GRANT
    return FileGrant(claims=fields["claims"], forbidden=tuple(fields["forbidden"]))


def decode_spec(text: str) -> JobSpec:
    """Return the request. Raise ``ValueError`` or ``KeyError`` if this release cannot fulfil it."""
    fields = orjson.loads(text)
    if "files" in fields:
        fields["file_ids"], paths = zip(*fields["files"], strict=True)
        fields["paths"] = paths if any(paths) else ()
    typed = {
        "file_ids": tuple(fields["file_ids"]),
        "priority": Priority(fields["priority"]),
        "on_missing": OnMissing(fields["on_missing"]),
        "paths": tuple(fields.get("paths", ())),
    }
    return JobSpec(**{**known_members(JobSpec, fields), **typed})


def decode_report(text: str | bytes) -> FileReport:
    return FileReport(**known_members(FileReport, orjson.loads(text)))


def decode_wake_ups(values: Sequence[str]) -> list[WakeUp]:
    """Return the wake-ups that a script leaves for its caller to send, from a flat list."""
    return [
        WakeUp(job_id=job_id, priority=priority, sent=int(sent))
        for job_id, priority, sent in zip(values[::3], values[1::3], values[2::3], strict=True)
    ]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
