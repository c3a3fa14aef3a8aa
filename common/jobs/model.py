"""The job as a frozen snapshot, read from the job store's hash or from an event."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import orjson

from common.jobs.transitions import TERMINAL, JobState


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


#: In the order in which workers take jobs.
PRIORITIES: Final = tuple(priority.value for priority in Priority)


class OnMissing(StrEnum):
    """What to do with a requested file that does not exist."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What the client requested. It never changes."""

    #: In the order of the archive. A file with several paths occurs several times.
    file_ids: tuple[int, ...]
    priority: Priority = Priority.NORMAL
    on_missing: OnMissing = OnMissing.FAIL
    file_name: str | None = None
    callback_url: str | None = None
    #: Returned to the client unchanged; at most 4 KiB as JSON.
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: Where each of ``file_ids`` goes in the archive, as the client wrote it; None: to the top,
    #: under its own name. Empty if no file has a path.
    paths: tuple[str | None, ...] = ()
    #: The archive contains a manifest even if it must not lack files.
    manifest: bool = False
    #: Seconds after its completion until the archive is deleted; None: ARCHIVE_TTL.
    expires_in: int | None = None


def number_copies(file_ids: Iterable[int]) -> list[tuple[int, int]]:
    """Return each id with the number of times that it occurred before."""
    seen: Counter[int] = Counter()
    numbered = []
    for file_id in file_ids:
        numbered.append((file_id, seen[file_id]))
        seen[file_id] += 1
    return numbered


@dataclass(frozen=True, kw_only=True)
class FileGrant:
    """On what grounds a job gets its files. Set when the job is created; it never changes."""

    #: The claims of the user's token that decide about files, as JSON.
    claims: str = "{}"
    #: Requested files that the user may not have; the job skips them.
    forbidden: tuple[int, ...] = ()


#: What every job has if every user may have every file.
NO_GRANT: Final = FileGrant()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of an attempt, and the estimated time until it ends."""

    processed_files: int = 0
    total_bytes: int | None = None
    processed_bytes: int = 0
    #: Seconds; None while no reliable estimate is possible.
    seconds_remaining: float | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The archive, or single file, of a completed job."""

    bucket: str
    key: str
    name: str
    #: Bytes.
    size: int
    content_type: str
    #: ``crc32:<8 hex digits>`` of all bytes; None if unknown.
    checksum: str | None = None
    etag: str | None = None
    #: Requested files that the archive lacks (``onMissing: skip``).
    missing_files: int = 0


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt ended without an archive."""

    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to run a job until the lease expires; every write checks ``fencing_token``."""

    job_id: str
    #: Grows with each claim, so that writes of an earlier holder are rejected.
    fencing_token: int


@dataclass(frozen=True, kw_only=True)
class QueuePlace:
    """Where a new job enters its priority's queue, in numbers of jobs started from that queue.

    Users take turns: a user's next job enters the queue when the one before it is started.
    """

    #: After so many starts it is the job's turn, if its user has no other job in the queue.
    turn: int
    #: Starts between two jobs of the same user.
    round: int


@dataclass(frozen=True, kw_only=True)
class WakeUp:
    """A message that tells the workers to look at a job that is ready."""

    job_id: str
    #: The priority queue that it is sent to.
    priority: str
    #: Milliseconds since 1970, by the store's clock.
    sent: int


@dataclass(frozen=True, kw_only=True)
class WakeUpTemplate:
    """What the job store's scripts need to push a wake-up onto the broker's list themselves."""

    #: The message, with the placeholders @JOB@, @PRIORITY@ and @SENT@.
    message: str
    #: The list's name without its priority.
    queue_prefix: str


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """A worker's report on one file of a job."""

    file_id: int
    #: ``done``, ``missing`` or ``failed``; a file without a report is ``pending``.
    state: str
    size: int | None = None
    #: With its folders in the archive.
    name: str | None = None
    error_code: str | None = None
    #: Which occurrence of the file in the request this is: 0 for the first.
    copy: int = 0
    #: Why the file is missing or failed; None in reports of earlier releases.
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class CountedDownload:
    """A download that was counted."""

    job_id: str
    #: Identifies the download among those of its job.
    entry: str
    #: Milliseconds since 1970.
    at: int
    #: None: by the job's own URL.
    link_id: str | None
    #: Of the client: ``public``, ``private`` or ``unknown``.
    network: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A snapshot of a job. Times are milliseconds since 1970, by the job store's clock."""

    id: str
    user: str
    status: JobState
    #: Incremented by every change; the cursor of every transport.
    version: int
    priority: Priority
    on_missing: OnMissing
    #: The current attempt: 1 for the first, 0 before it.
    attempt: int
    max_attempts: int
    #: Fencing token of the newest lease.
    fencing_token: int
    progress: int
    total_files: int
    processed_files: int
    total_bytes: int | None
    processed_bytes: int | None
    seconds_remaining: float | None
    retry_at: int | None
    failure: Failure | None
    artifact: Artifact | None
    callback_url: str | None
    metadata: Mapping[str, Any]
    worker: str | None
    created_at: int
    started_at: int | None
    updated_at: int
    completed_at: int | None
    expires_at: int | None
    #: How often the archive was downloaded by the job's own URL or by a link.
    downloads: int = 0
    #: W3C Trace Context of the request that created the job; None if it is not traced.
    traceparent: str | None = None
    #: See ``QueuePlace.turn``; None if unknown, and after a restart.
    turn: int | None = None
    #: When the user deleted the archive.
    archive_deleted_at: int | None = None
    #: The address of the user, as their token says; None if there is none.
    email: str | None = None
    #: For operators: why a worker returned the job to the queue, or who changed its state, without
    #: a name, which an erasure would have to find. None for other changes.
    reason: str | None = None
    #: When the job was first returned to the queue because a dependency was unavailable. None after
    #: progress, and after an attempt that ended in another way.
    postponed_since: int | None = None
    #: When it was restarted last. None for other jobs, and in the history.
    restarted_at: int | None = None

    @property
    def requested_at(self) -> int:
        """When the job was created, or restarted last."""
        return self.restarted_at or self.created_at

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def in_line(self) -> bool:
        """Whether the job waits in the queue for its first start, with a known turn."""
        return self.turn is not None and self.status is JobState.QUEUED and self.started_at is None

    @property
    def retries_remaining(self) -> int:
        """Attempts that are left; 0 after a failure that is not retryable."""
        if self.failure is not None and not self.failure.retryable:
            return 0
        return max(0, self.max_attempts - self.attempt)

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self:
        """Return the job in the store's flat strings; an absent or empty field is None or 0.

        A newer release may have stored fields and values that this one does not know. Reading such
        a job has to work, so an unknown value counts as the most likely one.
        """
        get = fields.get
        job = cls.__new__(cls)
        # A frozen dataclass sets members one by one in its constructor, which takes twice as long,
        # and this runs for every event of every watched job. A test compares the members.
        job.__dict__.update(
            id=fields["id"],
            user=fields["user"],
            status=_STATES.get(fields["status"], JobState.PROCESSING),
            version=int(fields["version"]),
            priority=_PRIORITIES.get(fields["priority"], Priority.NORMAL),
            on_missing=_ON_MISSING.get(fields["on_missing"], OnMissing.FAIL),
            attempt=int(get("attempt") or 0),
            max_attempts=int(fields["max_attempts"]),
            fencing_token=int(get("fence") or 0),
            progress=int(get("progress") or 0),
            total_files=int(fields["total_files"]),
            processed_files=int(get("processed_files") or 0),
            total_bytes=_integer(get("total_bytes")),
            processed_bytes=_integer(get("processed_bytes")),
            seconds_remaining=float(text) if (text := get("seconds_remaining")) else None,
            retry_at=_integer(get("retry_at")),
            failure=_failure(fields) if get("error_code") else None,
            artifact=_artifact(text) if (text := get("artifact")) else None,
            callback_url=get("callback_url") or None,
            metadata=orjson.loads(text) if (text := get("metadata") or "{}") != "{}" else {},
            worker=get("worker") or None,
            created_at=int(fields["created_at"]),
            started_at=_integer(get("started_at")),
            updated_at=int(fields["updated_at"]),
            completed_at=_integer(get("completed_at")),
            expires_at=_integer(get("expires_at")),
            downloads=int(get("downloads") or 0),
            traceparent=get("traceparent") or None,
            turn=_integer(get("turn")),
            archive_deleted_at=_integer(get("archive_deleted_at")),
            email=get("email") or None,
            reason=get("reason") or None,
            postponed_since=_integer(get("postponed_since")),
            restarted_at=_integer(get("restarted_at")),
        )
        return job


_STATES: Final = {state.value: state for state in JobState}
_PRIORITIES: Final = {priority.value: priority for priority in Priority}
_ON_MISSING: Final = {choice.value: choice for choice in OnMissing}


def known_members(kind: type[Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that the dataclass ``kind`` has; a newer release may store others too."""
    return {name: members[name] for name in kind.__dataclass_fields__ if name in members}


def _artifact(text: str) -> Artifact:
    return Artifact(**known_members(Artifact, orjson.loads(text)))


def _integer(text: str | None) -> int | None:
    return int(text) if text else None


def _failure(fields: Mapping[str, str]) -> Failure:
    return Failure(
        code=fields["error_code"],
        message=fields["error"],
        retryable=fields["retryable"] == "1",
    )


def success_rate(completed: int, failed: int) -> float | None:
    """Return completed / (completed + failed), 0 to 1; None if there are neither."""
    ended = completed + failed
    return completed / ended if ended else None
