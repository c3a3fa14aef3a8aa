"""What a job asks of the archive engine."""

from __future__ import annotations

from dataclasses import dataclass

from common.jobs.model import OnMissing

ZIP_TYPE = "application/zip"


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One attempt of one job."""

    job_id: str
    #: The fencing token of the attempt.
    attempt_token: int
    file_ids: tuple[int, ...]
    #: What the client wants the archive to be called.
    file_name: str | None
    on_missing: OnMissing
    #: The bucket that the archive is written to.
    bucket: str
    #: Deliver one single file as itself, by a link to the source object.
    direct_single_file: bool
    #: The files together may have so many bytes; None: any.
    max_bytes: int | None
    #: Bytes a second that a source must give within each window of ``rate_window`` seconds.
    min_rate: int = 1024
    rate_window: float = 30.0
