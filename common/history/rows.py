"""Converts jobs to rows and back. The result depends on neither order nor number of deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from common.history.tables import ATTEMPTS
from common.jobs.model import (
    Artifact,
    CountedDownload,
    Failure,
    FileReport,
    Job,
    OnMissing,
    Priority,
    known_members,
)
from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

Row = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Members of ``Job`` that are stored unchanged in a column of the same name.
_PLAIN: Final = (
    *("id", "version", "attempt", "max_attempts", "progress"),
    *("total_files", "processed_files", "total_bytes", "processed_bytes", "worker"),
    "downloads",
    "traceparent",
)
_TIMES: Final = ("created_at", "started_at", "updated_at", "completed_at", "expires_at")


def job_row(job: Job) -> Row:
    failure = job.failure
    return {
        **{name: getattr(job, name) for name in _PLAIN},
        **{name: to_datetime(getattr(job, name)) for name in _TIMES},
        "fence": job.fencing_token,
        "owner": job.user,
        "status": job.status.value,
        "priority": job.priority.value,
        "on_missing": job.on_missing.value,
        "error_code": failure.code if failure else None,
        "error": storable(failure.message) if failure else None,
        "retryable": failure.retryable if failure else None,
        "artifact": asdict(job.artifact) if job.artifact else None,
        "metadata": dict(job.metadata),
    }


def job_of(row: RowMapping) -> Job:
    """Return the job as it was recorded; members that only a running job has are None."""
    times: dict[str, Any] = {name: to_milliseconds(row[name]) for name in _TIMES}
    return Job(
        **{name: row[name] for name in _PLAIN},
        **times,
        user=row["owner"],
        fencing_token=row["fence"],
        status=JobState(row["status"]),
        priority=Priority(row["priority"]),
        on_missing=OnMissing(row["on_missing"]),
        seconds_remaining=None,
        retry_at=None,
        failure=_failure(row),
        artifact=Artifact(**known_members(Artifact, row["artifact"])) if row["artifact"] else None,
        callback_url=None,
        metadata=row["metadata"],
    )


def change_row(job: Job) -> Row:
    return {
        "job_id": job.id,
        "version": job.version,
        "status": job.status.value,
        "attempt": job.attempt,
        "worker": job.worker,
        "error_code": job.failure.code if job.failure else None,
        "reason": storable(job.reason) if job.reason else None,
        "elapsed_ms": job.updated_at - job.created_at,
        "bytes": job.artifact.size if job.artifact else None,
        "at": to_datetime(job.updated_at),
    }


def attempt_rows(jobs: Iterable[Job]) -> list[Row]:
    """Return one row for each attempt that these changes started or may have ended.

    A claim starts an attempt, which its fencing token identifies; the next change ends it. Later
    changes carry the same token, so the lowest version wins, here and in the database.
    """
    rows: dict[tuple[str, int], Row] = {}
    for job in sorted(jobs, key=lambda job: (job.id, -job.version)):
        if job.fencing_token == 0:
            continue
        row = rows.setdefault((job.id, job.fencing_token), _empty_attempt(job))
        if job.status is JobState.PROCESSING:
            row.update(
                attempt=job.attempt, worker=job.worker, started_at=to_datetime(job.updated_at)
            )
        else:
            row.update(
                ended_at=to_datetime(job.updated_at),
                ended_version=job.version,
                outcome=job.status.value,
                error_code=job.failure.code if job.failure else None,
                error=storable(job.failure.message) if job.failure else None,
            )
    return sorted(rows.values(), key=lambda row: (row["job_id"], row["fence"]))


def file_row(job: Job, report: FileReport) -> Row:
    """Return the row of a file; of a file with several paths, the last one remains."""
    row = asdict(report)
    del row["copy"]
    return {
        **row,
        "job_id": job.id,
        "version": job.version,
        "name": storable(report.name) if report.name else None,
        "error": storable(report.error) if report.error else None,
    }


def delivery_row(job: Job, delivery: Mapping[str, Any]) -> Row:
    return {
        "job_id": job.id,
        "version": job.version,
        "attempt": delivery["attempt"],
        "at": to_datetime(delivery["at"]),
        "duration_ms": delivery["duration_ms"],
        "http_status": delivery["status"],
        "error": delivery["error"],
        "state": delivery["state"],
    }


def download_row(download: CountedDownload) -> Row:
    return {
        "job_id": download.job_id,
        "entry": download.entry,
        "at": to_datetime(download.at),
        "link_id": download.link_id,
        "network": download.network,
    }


def _empty_attempt(job: Job) -> Row:
    key = {"job_id": job.id, "fence": job.fencing_token}
    return key | dict.fromkeys(column.name for column in ATTEMPTS.columns if not column.primary_key)


def _failure(row: RowMapping) -> Failure | None:
    if row["error_code"] is None:
        return None
    return Failure(code=row["error_code"], message=row["error"], retryable=row["retryable"])


def to_datetime(ms: int | None) -> datetime | None:
    """Convert exactly: a float of seconds would round milliseconds."""
    return None if ms is None else _EPOCH + timedelta(milliseconds=ms)


def to_milliseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // timedelta(milliseconds=1)


def storable(text: str) -> str:
    """Replace NUL characters, which PostgreSQL's text type cannot store."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
