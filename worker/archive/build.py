"""From a request to an archive in the store: describe, decide how, build."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from common.errors import FileNotFound, ProcessingError
from common.jobs.model import Artifact, OnMissing
from common.object_storage import ObjectStorage
from common.sources import Missing, Source, SourceFile
from common.task_group import TaskGroup
from worker.archive.build_lock import BuildLock, KeepLock, NoLock, waiting_for
from worker.archive.composing.compose import clear_away, compose, find
from worker.archive.composing.previous_archive import PreviousArchive, load_previous, remember
from worker.archive.composing.state import ArchivePlan, BuildTools, StoredArchive
from worker.archive.composing.upload_log import Checkpoint, NoUploadLog, UploadLog
from worker.archive.min_rate import MinRate
from worker.archive.planning.archive_plan import make_archive_plan
from worker.archive.planning.layout import Geometry
from worker.archive.planning.members import Member, accepted, members_of
from worker.archive.planning.plan import PlanError
from worker.archive.request import ZIP_TYPE, BuildRequest
from worker.archive.streaming import stream_archive
from worker.archive.zip_format import names
from worker.attempt.control import Control
from worker.metrics import ARCHIVE_BYTES

#: Seconds that a finished archive is handed out again; the bucket's rules keep it a day longer
#: than a job needs it.
REUSABLE_FOR = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How archives are built here, and where this job's progress is kept."""

    checkpoint: Checkpoint = field(default_factory=NoUploadLog)
    geometry: Geometry = field(default_factory=Geometry)
    #: The store copies ranges of objects by itself; see ``probe.py``.
    can_copy: bool = True
    #: The turn at building the plan with the given id.
    turn: Callable[[str], BuildLock] = lambda _: NoLock()
    #: Told how an archive came to be: counts by name, those of ``work.Tally`` among them.
    report: Callable[[Mapping[str, int]], None] = lambda _: None


def build(
    request: BuildRequest,
    *,
    source: Source,
    store: ObjectStorage,
    control: Control,
    engine: Engine | None = None,
) -> Artifact:
    """Make what the job asks for and say where it is.

    Raises a DownloadError, or the Interrupted that ``control.check()`` raises, within a second.
    """
    engine = engine or Engine()
    pace = MinRate(control, min_rate=request.min_rate, window=request.rate_window)
    task_group = TaskGroup(pace)
    tools = BuildTools(
        source=source, store=store, control=control, pace=pace, task_group=task_group
    )
    previous = task_group.call(
        lambda: load_previous(
            store, request.bucket, request.file_ids, cancellation=task_group.cancellation
        )
    )
    described = source.describe(
        request.file_ids, task_group, known=previous.entries() if previous else {}
    )
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
    members = members_of(entries)
    noted = missing if request.on_missing is OnMissing.SKIP else None
    try:
        stored = _composed(members, noted, request, tools, engine, previous)
        if stored is None:
            stored = _streamed(members, noted, request, tools, engine)
            engine.report({"streamed": 1, "through_worker": stored.size})
            ARCHIVE_BYTES.labels("streamed").inc(stored.size)
    except FileNotFound as error:
        if request.on_missing is OnMissing.SKIP:
            raise ProcessingError("A file went away; the next attempt goes without it") from error
        raise
    return Artifact(
        bucket=request.bucket,
        key=stored.key,
        name=archive_name(request),
        size=stored.size,
        content_type=ZIP_TYPE,
        checksum=None if stored.crc32 is None else f"crc32:{stored.crc32:08x}",
        etag=stored.etag,
        missing_files=len(missing),
    )


def _composed(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    request: BuildRequest,
    tools: BuildTools,
    engine: Engine,
    previous: PreviousArchive | None,
) -> StoredArchive | None:
    """The archive, found or composed; None if its files do not allow that."""
    if not all(m.entry.ranged and m.entry.etag and m.entry.size is not None for m in members):
        return None
    blueprint = _drawn(members, missing, request.bucket, engine)
    if blueprint is None:
        return None

    def look() -> StoredArchive | None:
        stored = tools.task_group.call(
            lambda: find(blueprint, tools.store, tools.task_group.cancellation)
        )
        return stored if stored is not None and _fresh(stored) else None

    turn = engine.turn(blueprint.plan_id)
    with waiting_for(turn, tools.pace, look) as found:
        if found is not None:
            clear_away(tools.store, UploadLog.load(engine.checkpoint))
            _all_done(members, tools.control)
            engine.report({"found": 1})
            return found
        tools = replace(tools, task_group=TaskGroup(KeepLock(tools.pace, turn)))
        if previous is not None and not tools.task_group.call(partial(previous.exists, tools)):
            previous = None
        stored, work = compose(blueprint, tools, engine.checkpoint, previous)
        remember(work, stored.etag, request.file_ids)
        engine.report({"composed": 1, **vars(work.tally)})
        return stored


def _drawn(
    members: Sequence[Member], missing: Sequence[Missing] | None, bucket: str, engine: Engine
) -> ArchivePlan | None:
    """A blueprint with copies; one without where those would be too many; None: none fits."""
    for can_copy in (True, False) if engine.can_copy else (False,):
        try:
            return make_archive_plan(
                members, missing, bucket=bucket, geometry=engine.geometry, can_copy=can_copy
            )
        except PlanError:
            continue
    return None


def _streamed(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    request: BuildRequest,
    tools: BuildTools,
    engine: Engine,
) -> StoredArchive:
    key = f"jobs/{request.job_id}/{request.attempt_token}/{archive_name(request)}"
    return stream_archive(
        members, missing, key=key, request=request, tools=tools, equal=engine.geometry.equal
    )


def _fresh(stored: StoredArchive) -> bool:
    """Young enough to outlive the link that the job is about to get."""
    age = datetime.now(UTC) - (stored.modified or datetime.min.replace(tzinfo=UTC))
    return age.total_seconds() < REUSABLE_FOR


def _all_done(members: Sequence[Member], control: Control) -> None:
    for member in members:
        entry = member.entry
        control.advance(entry.size or 0)
        control.file_done(entry.file_id, state="done", size=entry.size, name=member.name)


def archive_name(request: BuildRequest) -> str:
    """What the client's archive is called: safe, and ending in ``.zip``."""
    name = names.safe_name(request.file_name or "", fallback=f"download-{request.job_id}.zip")
    return name if name.lower().endswith(".zip") else f"{name}.zip"


def _direct(entry: SourceFile, location: tuple[str, str], control: Control) -> Artifact:
    name = names.safe_name(entry.name, fallback=f"file-{entry.file_id}")
    control.advance(entry.size or 0)
    control.file_done(entry.file_id, state="done", size=entry.size, name=name)
    ARCHIVE_BYTES.labels("delivered_as_is").inc(entry.size or 0)
    return Artifact(
        bucket=location[0],
        key=location[1],
        name=name,
        size=entry.size or 0,
        content_type=entry.content_type or "application/octet-stream",
        checksum=None if entry.crc32 is None else f"crc32:{entry.crc32:08x}",
        etag=entry.etag,
    )
