"""The tables of history. ``migrations/`` creates them; a test compares both."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
)

METADATA: Final = MetaData()


def _time(name: str, *, required: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not required)


def _job_id() -> Column[object]:
    return Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


#: Each job at its newest version, without its callback URL, which may contain a secret.
JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("priority", Text, nullable=False),
    Column("on_missing", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("total_files", Integer, nullable=False),
    Column("processed_files", Integer, nullable=False),
    Column("total_bytes", BigInteger),
    Column("processed_bytes", BigInteger),
    Column("error_code", Text),
    Column("error", Text),
    Column("retryable", Boolean),
    Column("artifact", JSON(none_as_null=True)),
    Column("metadata", JSON, nullable=False),
    Column("worker", Text),
    Column("downloads", BigInteger, nullable=False, server_default="0"),
    # W3C Trace Context of the request that created the job.
    Column("traceparent", Text),
    _time("created_at", required=True),
    _time("started_at"),
    _time("updated_at", required=True),
    _time("completed_at"),
    _time("expires_at"),
    # Each one serves searches with this condition page by page, however many jobs there are. The
    # last columns are for searches with several conditions: the index alone decides about a job.
    Index("jobs_created", "created_at", "id"),
    Index("jobs_of_user", "owner", "created_at", "id", "status", "priority", "error_code"),
    Index("jobs_of_status", "status", "created_at", "id", "priority", "error_code"),
    Index("jobs_of_priority", "priority", "created_at", "id", "error_code"),
    Index("jobs_of_error_code", "error_code", "created_at", "id", "status", "priority"),
    Index("jobs_updated", "updated_at"),
)

#: The state log, one row per state change.
CHANGES: Final = Table(
    "changes",
    METADATA,
    _job_id(),
    Column("version", BigInteger, primary_key=True),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", Text),
    Column("error_code", Text),
    # Why the job was returned to the queue, or who changed its state, without a name.
    Column("reason", Text),
    # Since the job was created, milliseconds.
    Column("elapsed_ms", BigInteger, nullable=False),
    # Of the archive, where this change completed one.
    Column("bytes", BigInteger),
    _time("at", required=True),
    Index("changes_at", "at"),
)

#: One row per claim, identified by the fencing token: attempts start again at 1 after an explicit
#: retry. The column keeps its first name, ``fence``.
ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    _job_id(),
    Column("fence", BigInteger, primary_key=True),
    Column("attempt", Integer),
    Column("worker", Text),
    _time("started_at"),
    _time("ended_at"),
    # The version that ended it, and the state that the job had then.
    Column("ended_version", BigInteger),
    Column("outcome", Text),
    Column("error_code", Text),
    Column("error", Text),
)

FILES: Final = Table(
    "files",
    METADATA,
    _job_id(),
    Column("file_id", BigInteger, primary_key=True),
    # The job's version when the report was read.
    Column("version", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("size", BigInteger),
    Column("name", Text),
    Column("error_code", Text),
    Column("error", Text),
)

#: One row per attempt to deliver a webhook; ``version`` is that of the state it reports.
DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    _job_id(),
    Column("version", BigInteger, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    _time("at", required=True),
    Column("duration_ms", BigInteger, nullable=False),
    Column("http_status", Integer),
    Column("error", Text),
    Column("state", Text, nullable=False),
)

#: One row per counted download, up to ``common.job_store.download_links.MAX_LOGGED`` for a job.
DOWNLOADS: Final = Table(
    "downloads",
    METADATA,
    _job_id(),
    # The entry in the log of downloads.
    Column("entry", Text, primary_key=True),
    _time("at", required=True),
    # None: by the job's own URL.
    Column("link_id", Text),
    # Whether the client's address was public or private. The address is not recorded.
    Column("network", Text, nullable=False),
)

#: What a user's jobs did on a day, UTC. Kept longer than the jobs, as bills may need it.
USAGE: Final = Table(
    "usage",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    Column("completed", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False),
    # Of completed archives.
    Column("bytes", BigInteger, nullable=False),
    Index("usage_of_day", "day", "owner"),
)

#: Users whose jobs were erased, so that late entries of the state log do not bring them back.
ERASURES: Final = Table(
    "erasures",
    METADATA,
    # SHA-256 of the owner.
    Column("owner_digest", Text, primary_key=True),
    # By the job store's clock.
    _time("erased_at", required=True),
)
