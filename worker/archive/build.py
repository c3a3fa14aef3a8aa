"""From a request to an archive in the store: describe, decide how, build."""

from __future__ import annotations

from common.errors import StorageError
from common.jobs.model import Artifact, OnMissing
from common.storage import ObjectMissing, ObjectStore
from worker.archive import names
from worker.archive.members import accepted, members_of
from worker.archive.pace import Pace
from worker.archive.request import ZIP_TYPE, ArchiveRequest
from worker.archive.streaming import stream_archive
from worker.control import Control
from worker.crew import Crew
from worker.sources import Missing, Source, SourceEntry


def build(
    request: ArchiveRequest, *, source: Source, store: ObjectStore, control: Control
) -> Artifact:
    """Make what the job asks for and say where it is.

    Raises a DownloadError, or the Interrupted that ``control.check()`` raises, within a second.
    """
    pace = Pace(control, min_rate=request.min_rate, window=request.rate_window)
    described = source.describe(request.file_ids, Crew(pace))
    for file in described:
        if isinstance(file, Missing):
            control.file_done(
                file.file_id, state="missing", size=None, name=None, error_code=file.code
            )
    entries, missing = accepted(described, request)
    sizes = [entry.size for entry in entries]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    control.expect(files=len(request.file_ids), bytes=total)
    if request.direct_single_file and len(request.file_ids) == 1 and (at := entries[0].location):
        return _direct(entries[0], at, control)
    try:
        stored = stream_archive(
            members_of(entries),
            missing if request.on_missing is OnMissing.SKIP else None,
            key=f"jobs/{request.job_id}/{request.attempt_token}/{archive_name(request)}",
            request=request,
            source=source,
            store=store,
            control=control,
            pace=pace,
        )
    except ObjectMissing as error:
        raise StorageError("The storage lost the archive while it was written") from error
    return Artifact(
        bucket=request.bucket,
        key=stored.key,
        name=archive_name(request),
        size=stored.size,
        content_type=ZIP_TYPE,
        checksum=f"crc32:{stored.crc32:08x}",
        etag=stored.etag,
        missing_files=len(missing),
    )


def archive_name(request: ArchiveRequest) -> str:
    """What the client's archive is called: safe, and ending in ``.zip``."""
    name = names.safe_name(request.file_name or "", fallback=f"download-{request.job_id}.zip")
    return name if name.lower().endswith(".zip") else f"{name}.zip"


def _direct(entry: SourceEntry, location: tuple[str, str], control: Control) -> Artifact:
    name = names.safe_name(entry.name, fallback=f"file-{entry.file_id}")
    control.advance(entry.size or 0)
    control.file_done(entry.file_id, state="done", size=entry.size, name=name)
    return Artifact(
        bucket=location[0],
        key=location[1],
        name=name,
        size=entry.size or 0,
        content_type=entry.content_type or "application/octet-stream",
        checksum=None if entry.crc32 is None else f"crc32:{entry.crc32:08x}",
        etag=entry.etag,
    )
