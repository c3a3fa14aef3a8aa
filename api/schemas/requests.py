"""Request bodies and query parameters."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate, validates_schema

from api.parsing import MAX_WAIT
from api.schemas import requested_files
from api.schemas.fields import CallbackUrl, ExpiresIn, FileId, FileIds, Flag, Metadata, UserId
from api.schemas.job import JobSchema
from api.schemas.requested_files import RequestedFiles
from common.jobs.model import OnMissing, Priority
from common.jobs.transitions import JobState

MAX_NAME_LENGTH: Final = 200
MAX_URL_LENGTH: Final = 2048
#: What a file name must not contain: slashes; control characters, among them line ends (C0, C1, and
#: the separators of Unicode); and characters that change the direction of the text around them,
#: which make `exe.txt` out of `txt.exe` (UTR 36, 2.10.2; CVE-2021-42574).
_NOT_IN_NAMES: Final = r"/\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
#: The name of a file. In Python, `$` also matches before a line end, so none may follow. Only one
#: place can follow the dots, so that matching takes linear time.
NAME_PATTERN: Final = rf"^\.*[^.{_NOT_IN_NAMES}][^{_NOT_IN_NAMES}]*$(?!\n)"
NAME_RULE: Final = (
    "Must be a file name: no slashes, control characters or characters that override the text "
    "direction, and not only dots."
)


class _Request(Schema):
    class Meta:
        unknown = RAISE


def _user_id() -> UserId:
    return UserId(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Optional: your user ID. A request that names another user gets 403"
        },
    )


class InitiateSchema(_Request):
    """The files to download: `file_ids`, `file_id` for a single file, or `files` with paths."""

    user_id = _user_id()
    file_ids = FileIds(metadata={"description": "The files; duplicates are ignored"})
    file_id = FileId(metadata={"description": "A single file, instead of file_ids"})
    files = RequestedFiles(
        metadata={
            "description": "Files with their paths in the archive, instead of file_ids. A file may "
            "have several paths; the same file with the same path again is ignored"
        }
    )
    manifest = Flag(
        load_default=False,
        metadata={
            "description": "Add MANIFEST.json to the archive, which lists its files with sizes and "
            "checksums. With onMissing: skip it is always there"
        },
    )
    priority = fields.Enum(
        Priority,
        by_value=True,
        # A function, so that the document has no default: the plan decides.
        load_default=lambda: None,
        metadata={
            "description": "Defaults to normal, or if your plan does not allow it, to the highest "
            "priority that it allows"
        },
    )
    onMissing = fields.Enum(
        OnMissing,
        by_value=True,
        load_default=OnMissing.FAIL,
        metadata={"description": "What to do if a file does not exist"},
    )
    fileName = fields.String(
        load_default=None,
        allow_none=True,
        validate=[
            validate.Length(1, MAX_NAME_LENGTH),
            validate.Regexp(NAME_PATTERN, error=NAME_RULE),
        ],
        metadata={"description": "Name of the archive; a single file keeps its own name"},
    )
    callbackUrl = CallbackUrl(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, MAX_URL_LENGTH),
        metadata={
            "description": "Receives a signed POST when the job is finished, and another one when "
            "its archive expires",
            "format": "uri",
        },
    )
    metadata = Metadata(load_default=dict, metadata={"description": "Echoed back; at most 4 KiB"})
    expiresIn = ExpiresIn(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Seconds after the job's completion until the archive is deleted; "
            "by default as long as the service allows"
        },
    )

    @validates_schema
    def _require_exactly_one(self, data: dict[str, Any], **kwargs: Any) -> None:
        requested_files.require_exactly_one(data)


class FileSchema(_Request):
    """A single file."""

    user_id = _user_id()
    file_id = FileId(required=True)


class CheckFilesSchema(_Request):
    """The files to check: `file_id`, or `file_ids` for a list in the response."""

    user_id = _user_id()
    file_id = FileId()
    file_ids = FileIds(metadata={"description": "Several files; duplicates are ignored"})

    @validates_schema
    def _require_exactly_one(self, data: dict[str, Any], **kwargs: Any) -> None:
        if ("file_ids" in data) == ("file_id" in data):
            raise ValidationError("Specify either file_ids or file_id.", "file_ids")


class Query(Schema):
    """Query parameters. Unknown ones are ignored."""

    class Meta:
        # Some clients add parameters of their own, for example to bypass caches.
        unknown = EXCLUDE


class JobMembers(fields.Field[tuple[str, ...]]):
    """Comma-separated names of members of a job."""

    NAMES: Final = tuple(JobSchema().fields)
    PATTERN: Final = "^({0})(,({0}))*$".format("|".join(NAMES))

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **kwargs: Any
    ) -> tuple[str, ...]:
        names = tuple(value.split(",")) if isinstance(value, str) else ("",)
        if unknown := sorted(set(names).difference(self.NAMES)):
            raise ValidationError(f"A job has no member {unknown[0]!r}.")
        return names


class StatusQuery(Query):
    """What to wait for, and what to return."""

    wait = fields.Integer(
        load_default=0,
        validate=validate.Range(0, MAX_WAIT),
        metadata={"description": "Wait up to this many seconds for the job to change"},
    )
    since = fields.Integer(
        load_default=None,
        validate=validate.Range(0, 2**53),
        metadata={
            "description": "The version that the client has; defaults to that of If-None-Match"
        },
    )
    until = fields.String(
        load_default=None,
        validate=validate.OneOf(["finished"]),
        metadata={"description": "Wait until the job is finished, whatever else changes"},
    )
    minProgress = fields.Integer(
        load_default=0,
        validate=validate.Range(0, 100),
        metadata={"description": "Wait until the progress has reached this percentage"},
    )
    members = JobMembers(
        data_key="fields",
        load_default=(),
        metadata={
            "description": "Return only these members of the job, comma-separated",
            "pattern": JobMembers.PATTERN,
            "examples": ["status,progress"],
        },
    )


class PageQuery(Query):
    """Which page to return."""

    cursor = fields.String(
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"description": "nextCursor of the previous page"},
    )
    limit = fields.Integer(
        load_default=50,
        validate=validate.Range(1, 100),
        metadata={"description": "Number of entries per page"},
    )


class JobsQuery(PageQuery):
    """Which jobs to return."""

    status = fields.Enum(
        JobState,
        by_value=True,
        load_default=None,
        metadata={"description": "Return only jobs in this state"},
    )


class LiveQuery(Schema):
    """Where to resume a stream. An invalid version is ignored."""

    lastEventId = fields.String(
        metadata={
            "description": "Same as the Last-Event-ID header, for clients that cannot send it"
        },
    )
    ticket = fields.String(
        metadata={"description": "Permission to watch this job; part of subscribeUrl"},
    )


INITIATE: Final = InitiateSchema()
FILE: Final = FileSchema()
CHECK: Final = CheckFilesSchema()
STATUS_QUERY: Final = StatusQuery()
PAGE_QUERY: Final = PageQuery()
JOBS_QUERY: Final = JobsQuery()
LIVE_QUERY: Final = LiveQuery()
