"""What clients send."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate, validates_schema

from api.parsing import LONGEST_WAIT
from api.schemas.fields import CallbackUrl, FileId, FileIds, Metadata
from common.jobs.model import OnMissing, Priority
from common.jobs.transitions import JobState

LONGEST_NAME: Final = 200
LONGEST_URL: Final = 2048
#: Names a file, so no path, no control characters and not dots alone.
NAME_PATTERN: Final = r"^[^/\\\x00-\x1f\x7f]*[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$"
NAME_RULE: Final = "A file's name: without slashes and control characters, and not dots alone."


class _Request(Schema):
    class Meta:
        unknown = RAISE


class InitiateSchema(_Request):
    """Which files to gather: ``file_ids``, or ``file_id`` for a single one."""

    file_ids = FileIds(metadata={"description": "The files, duplicates folded"})
    file_id = FileId(metadata={"description": "A single file, instead of file_ids"})
    priority = fields.Enum(Priority, by_value=True, load_default=Priority.NORMAL)
    onMissing = fields.Enum(
        OnMissing,
        by_value=True,
        load_default=OnMissing.FAIL,
        metadata={"description": "What to do with a file that does not exist"},
    )
    fileName = fields.String(
        load_default=None,
        allow_none=True,
        validate=[validate.Length(1, LONGEST_NAME), validate.Regexp(NAME_PATTERN, error=NAME_RULE)],
        metadata={"description": "Name of the archive; a single file keeps its own"},
    )
    callbackUrl = CallbackUrl(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, LONGEST_URL),
        metadata={"description": "Gets one signed POST when the job is finished", "format": "uri"},
    )
    metadata = Metadata(load_default=dict, metadata={"description": "Echoed back; at most 4 KiB"})

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **kwargs: Any) -> None:
        if ("file_ids" in data) == ("file_id" in data):
            raise ValidationError("Exactly one of file_ids and file_id is needed", "file_ids")


class FileSchema(_Request):
    """A single file."""

    file_id = FileId(required=True)


class _Query(Schema):
    class Meta:
        # Others add parameters of their own, against caches for instance.
        unknown = EXCLUDE


class StatusQuery(_Query):
    """How to wait."""

    wait = fields.Integer(
        load_default=0,
        validate=validate.Range(0, LONGEST_WAIT),
        metadata={"description": "Hold the answer until the job changes, for so many seconds"},
    )
    since = fields.Integer(
        load_default=None,
        validate=validate.Range(0, 2**53),
        metadata={"description": "The version that the client has; else that of If-None-Match"},
    )


class PageQuery(_Query):
    """Which page."""

    cursor = fields.String(
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"description": "nextCursor of the page before"},
    )
    limit = fields.Integer(
        load_default=50,
        validate=validate.Range(1, 100),
        metadata={"description": "Entries on a page"},
    )


class JobsQuery(PageQuery):
    """Which jobs."""

    status = fields.Enum(
        JobState,
        by_value=True,
        load_default=None,
        metadata={"description": "Only jobs in this state"},
    )


class LiveQuery(Schema):
    """Where to go on. Anything that is no version counts as none."""

    lastEventId = fields.String(
        metadata={"description": "As the header Last-Event-ID, for whoever cannot send it"},
    )
    ticket = fields.String(
        metadata={"description": "The right to watch this job, as subscribeUrl carries it"},
    )


INITIATE: Final = InitiateSchema()
FILE: Final = FileSchema()
STATUS_QUERY: Final = StatusQuery()
PAGE_QUERY: Final = PageQuery()
JOBS_QUERY: Final = JobsQuery()
LIVE_QUERY: Final = LiveQuery()
