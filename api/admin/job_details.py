"""Everything that is known about one job, from the history or else from the job store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from common.errors import JobNotFound
from common.job_store.audit_log import AuditEntry
from common.jobs.presenter import iso
from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from api.admin.job_explorer import FoundJob
    from common.job_store.audit_log import AuditLog
    from common.job_store.dead_letters import AttemptRecord, DeadLetters
    from common.job_store.deliveries import Deliveries, DeliveryRecord
    from common.job_store.download_links import DownloadLink, DownloadLinks
    from common.job_store.queries import JobQueries
    from common.jobs.model import FileReport, Job

Members = dict[str, Any]

#: The newest entries of the audit log that are searched for a job.
MAX_AUDIT_ENTRIES: Final = 500

#: Member of the response -> column of the history.
_CHANGE: Final = {"errorCode": "error_code"} | {
    name: name for name in ("version", "status", "attempt", "worker", "reason", "at")
}
_ATTEMPT: Final = {"startedAt": "started_at", "endedAt": "ended_at", "errorCode": "error_code"} | {
    name: name for name in ("attempt", "worker", "outcome", "error")
}
_FILE: Final = {"fileName": "name", "errorCode": "error_code"} | {
    name: name for name in ("file_id", "state", "size", "error")
}
_DELIVERY: Final = {"durationMs": "duration_ms", "status": "http_status"} | {
    name: name for name in ("version", "attempt", "at", "error", "state")
}

_DOWNLOAD: Final = {"linkId": "link_id"} | {name: name for name in ("at", "network")}


@dataclass(frozen=True, kw_only=True)
class JobDetails:
    """The details as JSON members, each list oldest first."""

    changes: Sequence[Members]
    attempts: Sequence[Members]
    files: Sequence[Members]
    deliveries: Sequence[Members]
    downloads: Sequence[Members]
    timeline: Sequence[Members]


class JobDetailsReader:
    """Reads details. Raises ``RedisError`` when the job store is unavailable."""

    def __init__(
        self,
        queries: JobQueries,
        dead_letters: DeadLetters,
        deliveries: Deliveries,
        links: DownloadLinks,
        audit_log: AuditLog,
    ) -> None:
        self._queries = queries
        self._dead_letters = dead_letters
        self._deliveries = deliveries
        self._links = links
        self._audit_log = audit_log

    def read(self, found: FoundJob) -> JobDetails:
        """Return the details of a job."""
        job, record = found.job, found.record
        changes = [_members(row, _CHANGE) for row in record.changes] if record else []
        attempts = [_members(row, _ATTEMPT) for row in record.attempts] if record else []
        files = [_members(row, _FILE) for row in record.files] if record else []
        deliveries = [_members(row, _DELIVERY) for row in record.deliveries] if record else []
        downloads = [_members(row, _DOWNLOAD) for row in record.downloads] if record else []
        if found.stored:
            # The history gets the files when the job ends, and everything a moment later.
            attempts = attempts or self._stored_attempts(job)
            files = files or self._stored_files(job)
            deliveries = deliveries or self._stored_deliveries(job)
        timeline = [
            *_state_entries(job, changes, attempts),
            *_webhook_entries(deliveries),
            *_link_entries(self._links.of_job(job.id)),
            *_operator_entries(job, self._audit_log.page(before=None, limit=MAX_AUDIT_ENTRIES)[0]),
        ]
        return JobDetails(
            changes=changes,
            attempts=attempts,
            files=files,
            deliveries=deliveries,
            downloads=downloads,
            timeline=sorted(timeline, key=lambda entry: str(entry["at"])),
        )

    def _stored_attempts(self, job: Job) -> list[Members]:
        ended = self._dead_letters.attempts(job.id)
        attempts = [_ended_attempt(attempt) for attempt in ended]
        is_listed = any(attempt.attempt == job.attempt for attempt in ended[-1:])
        if job.worker and not is_listed:
            attempts.append(_last_attempt(job, is_first=not ended))
        return attempts

    def _stored_files(self, job: Job) -> list[Members]:
        try:
            reports = self._queries.files(job.id, self._queries.spec(job.id).file_ids)
        except JobNotFound:
            return []
        return [_file(report) for report in reports]

    def _stored_deliveries(self, job: Job) -> list[Members]:
        return [
            attempt for record in self._deliveries.of_job(job.id) for attempt in _delivery(record)
        ]


def _members(row: Mapping[str, Any], columns: Mapping[str, str]) -> Members:
    members = {name: row[column] for name, column in columns.items()}
    return {
        name: iso(round(value.timestamp() * 1000)) if isinstance(value, datetime) else value
        for name, value in members.items()
    }


def _ended_attempt(attempt: AttemptRecord) -> Members:
    return {
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "startedAt": iso(attempt.started_at),
        "endedAt": iso(attempt.ended_at),
        "errorCode": attempt.error_code,
        "error": attempt.error,
        "outcome": JobState.QUEUED.value,
    }


def _last_attempt(job: Job, *, is_first: bool) -> Members:
    return {
        "attempt": job.attempt,
        "worker": job.worker,
        # The job store has only the start of the first attempt.
        "startedAt": iso(job.started_at) if is_first else None,
        "endedAt": iso(job.completed_at),
        "errorCode": job.failure.code if job.failure else None,
        "error": job.failure.message if job.failure else None,
        "outcome": job.status.value if job.terminal else None,
    }


def _file(report: FileReport) -> Members:
    return {
        "file_id": report.file_id,
        "state": report.state,
        "size": report.size,
        "fileName": report.name,
        "errorCode": report.error_code,
        "error": report.error,
    }


def _delivery(record: DeliveryRecord) -> Iterator[Members]:
    for number, attempt in enumerate(record.attempts, 1):
        yield {
            "version": record.job.version,
            "attempt": attempt.attempt,
            "at": iso(attempt.at),
            "durationMs": attempt.duration_ms,
            "status": attempt.status,
            "error": attempt.error,
            "state": record.state if number == len(record.attempts) else "pending",
        }


def _entry(at: str | None, kind: str, text: str, **members: Any) -> Members:
    empty = dict.fromkeys(("version", "attempt", "worker", "errorCode", "error", "detail"))
    return {"at": at, "kind": kind, "text": text, **empty, **members}


def _state_entries(
    job: Job, changes: Sequence[Members], attempts: Sequence[Members]
) -> Iterator[Members]:
    """Yield an entry for each state that the job was in, as far as that is known."""
    # Several attempts may end in the same millisecond, and restarts count attempts from 1 again.
    errors = {(each["attempt"], each["endedAt"]): each["error"] for each in attempts}
    if changes:
        for change in changes:
            members = {name: change[name] for name in ("version", "attempt", "worker", "errorCode")}
            ended = change["attempt"], change["at"]
            error = errors.get(ended) if change["errorCode"] else None
            reason = {"error": error, "detail": change["reason"]}
            yield _entry(change["at"], "state", change["status"], **reason, **members)
        if changes[-1]["version"] < job.version and changes[-1]["status"] != job.status:
            yield _current_state(job)
        return
    yield _entry(iso(job.created_at), "state", JobState.QUEUED.value, version=1)
    for attempt in attempts:
        started = {"attempt": attempt["attempt"], "worker": attempt["worker"]}
        if attempt["startedAt"]:
            yield _entry(attempt["startedAt"], "state", JobState.PROCESSING.value, **started)
        ended_job = attempt is attempts[-1] and attempt["endedAt"] == iso(job.completed_at)
        if attempt["endedAt"] and not ended_job:
            reason = {"errorCode": attempt["errorCode"], "error": attempt["error"]}
            yield _entry(attempt["endedAt"], "state", JobState.QUEUED.value, **started, **reason)
    if job.terminal or job.reason:
        yield _current_state(job)


def _current_state(job: Job) -> Members:
    at = job.updated_at if job.status is JobState.EXPIRED else job.completed_at or job.updated_at
    return _entry(
        iso(at),
        "state",
        job.status.value,
        version=job.version,
        attempt=job.attempt,
        worker=job.worker,
        errorCode=job.failure.code if job.failure else None,
        error=job.failure.message if job.failure else None,
        detail=job.reason,
    )


def _webhook_entries(deliveries: Sequence[Members]) -> Iterator[Members]:
    for delivery in deliveries:
        status = delivery["status"]
        yield _entry(
            delivery["at"],
            "webhook",
            delivery["state"],
            version=delivery["version"],
            attempt=delivery["attempt"],
            error=delivery["error"],
            detail=None if status is None else str(status),
        )


def _link_entries(links: Sequence[DownloadLink]) -> Iterator[Members]:
    for link in links:
        moments = {
            "created": link.created_at,
            "last used": link.last_used_at,
            "revoked": link.revoked_at,
        }
        for text, at in moments.items():
            if at is not None:
                yield _entry(iso(at), "link", text, detail=link.id)


def _operator_entries(job: Job, entries: Sequence[AuditEntry]) -> Iterator[Members]:
    for entry in entries:
        if job.id in entry.job_ids:
            operator = entry.subject or None
            yield _entry(iso(entry.at), "operator", entry.action, detail=operator)
