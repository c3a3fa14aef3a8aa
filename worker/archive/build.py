"""Builds the archive of one job: describes its files, chooses a method, and runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from common.errors import FileForbidden, FileNotFound, ProcessingError, SourceForbidden
from common.jobs.model import Artifact, OnMissing
from common.object_storage import BadChecksum, ObjectStorage
from common.object_storage.lifecycle import STREAMED_PREFIX, expiry_days
from common.sources import FileDescription, Missing, Source, SourceFile
from common.task_group import TaskGroup
from worker.archive.build_lock import (
    ACQUIRE_INTERVAL,
    BuildLock,
    NoBuildLock,
    RenewingControl,
    acquire_or_find,
)
from worker.archive.composing.compose import compose, discard_upload, find_archive
from worker.archive.composing.previous_archive import (
    PreviousArchive,
    load_previous_archive,
    store_index,
)
from worker.archive.composing.state import BuildDependencies, StoredArchive
from worker.archive.composing.upload_log import Checkpoint, NoCheckpoint, UploadLog
from worker.archive.min_rate import MinRate
from worker.archive.planning.archive_plan import ArchivePlan, make_archive_plan
from worker.archive.planning.layout import PartSizes
from worker.archive.planning.members import (
    Entry,
    Member,
    name_members,
    requested_entries,
    select_files,
)
from worker.archive.planning.plan import PlanError
from worker.archive.streaming import stream_archive
from worker.archive.zip_format import names, records
from worker.attempt.control import Control

#: A finished archive is reused only if it will exist for this much longer than the new job needs
#: it (``archive_ttl``).
REUSE_MARGIN = timedelta(hours=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """The archive that one attempt of a job has to build."""

    job_id: str
    #: The fencing token of the attempt.
    fencing_token: int
    #: A file with several paths occurs several times.
    file_ids: tuple[int, ...]
    #: The archive's file name that the client requested.
    file_name: str | None
    on_missing: OnMissing
    #: The bucket that the archive is written to.
    bucket: str
    #: Deliver a single file as it is, by a link to the source object.
    direct_single_file: bool
    #: The limit for the size of all files together; None: no limit.
    max_bytes: int | None
    #: See ``JobSpec.paths``.
    paths: tuple[str | None, ...] = ()
    #: Add a manifest even if the archive must not lack files.
    manifest: bool = False
    #: Bytes per second that a source must send within each window of ``rate_window`` seconds.
    min_rate: int = 1024
    rate_window: float = 30.0

    @property
    def has_manifest(self) -> bool:
        """Return whether the archive contains a manifest."""
        return self.manifest or self.on_missing is OnMissing.SKIP

    @property
    def is_one_plain_file(self) -> bool:
        """Return whether a single file is requested, without a place in an archive."""
        return len(self.file_ids) == 1 and not self.paths and not self.manifest


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How archives are built with this storage, and where this job's progress is stored."""

    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    part_sizes: PartSizes = field(default_factory=PartSizes)
    #: The storage copies ranges of objects; see ``storage_probe.py``.
    can_copy: bool = True
    #: Returns the lock for the plan with the given id.
    build_lock: Callable[[str], BuildLock] = lambda _: NoBuildLock()
    #: Records that the job needs the archive with this key. False: not yet, because it is being
    #: deleted, or the job store is unavailable.
    hold: Callable[[str], bool] = lambda _: True
    #: Returns those of the files that the job's user may not have.
    #: None: may have every file.
    forbidden: Callable[[Sequence[int]], Collection[int]] | None = None
    #: Seconds for which the job needs the archive.
    archive_ttl: float = 86_400.0
    #: Whether the job may go on when an attempt with progress reaches its deadline.
    may_continue: Callable[[], bool] = lambda: True
    #: Receives the counts of ``BuildStats`` and how the archive was built.
    report: Callable[[Mapping[str, int]], None] = lambda _: None
    #: Runs what is left to do once the job is completed, so that its client need not wait for it.
    defer: Callable[[Callable[[], None]], None] = lambda step: step()


def build(
    request: BuildRequest,
    *,
    source: Source,
    storage: ObjectStorage,
    control: Control,
    options: BuildOptions | None = None,
) -> Artifact:
    """Build the archive and return where it is.

    Raise a DownloadError, or the Interrupted that ``control.check()`` raises, within a second.
    """
    options = options or BuildOptions()
    use_cache = use_previous = True
    while True:
        try:
            return _build(
                request, source, storage, control, options,
                use_cache=use_cache, use_previous=use_previous,
            )  # fmt: skip
        except _OutdatedCacheError:
            if not use_cache:
                raise ProcessingError from None
            use_cache = False
        except _DamagedArchiveError:
            # Without the previous archive it cannot happen again.
            use_previous = False


class _OutdatedCacheError(Exception):
    """A file that was only listed is not readable any more, is another version or is forbidden."""


class _DamagedArchiveError(Exception):
    """The previous archive may be damaged; the next attempt would use the same one."""


def _build(
    request: BuildRequest,
    source: Source,
    storage: ObjectStorage,
    control: Control,
    options: BuildOptions,
    *,
    use_cache: bool,
    use_previous: bool,
) -> Artifact:
    min_rate = MinRate(control, min_rate=request.min_rate, window=request.rate_window)
    deps = BuildDependencies(
        source=source,
        storage=storage,
        control=control,
        min_rate=min_rate,
        task_group=TaskGroup(min_rate),
    )
    entries = requested_entries(request.file_ids, request.paths)
    previous = _load_previous(request, entries, deps) if use_previous else None
    cached = previous.source_files() if previous and use_cache else {}
    described = _describe(tuple(dict.fromkeys(request.file_ids)), deps, options, cached)
    files, missing = select_files(
        _of_entries(entries, described, control),
        on_missing=request.on_missing,
        max_bytes=request.max_bytes,
    )
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    control.expect(files=len(entries), bytes=total)
    if request.direct_single_file and request.is_one_plain_file:
        artifact = _deliver_directly(files[0], deps, options)
        if artifact is not None:
            return artifact
    stored = _build_archive(
        name_members(entries, files),
        list(dict.fromkeys(missing)),
        request,
        deps,
        options,
        previous,
        partial(_verify_sources, described, cached, files, deps, options),
    )
    return Artifact(
        bucket=request.bucket,
        key=stored.key,
        name=archive_name(request),
        size=stored.size,
        content_type=records.CONTENT_TYPE,
        checksum=None if stored.crc32 is None else f"crc32:{stored.crc32:08x}",
        etag=stored.etag,
        missing_files=len(missing),
    )


def _load_previous(
    request: BuildRequest, entries: Sequence[Entry], deps: BuildDependencies
) -> PreviousArchive | None:
    group = deps.task_group
    return group.call(
        lambda: load_previous_archive(deps.storage, request.bucket, entries, group.cancellation)
    )


def _verify_sources(
    described: Sequence[FileDescription],
    cached: Mapping[int, SourceFile],
    files: Sequence[SourceFile],
    deps: BuildDependencies,
    options: BuildOptions,
) -> None:
    """Raise ``_OutdatedCacheError`` if a file may no longer be used as it was described."""
    # The others were described by a request that needs permission to read the file.
    listed = [file for file in described if cached.get(file.file_id) is file]
    if listed:
        file_ids = [file.file_id for file in listed]
        if deps.source.describe(file_ids, deps.task_group, cached={}) != listed:
            raise _OutdatedCacheError
    # Waiting for the build lock may have taken long enough for a permission to be revoked.
    if _forbidden(list({file.file_id: file for file in files}), deps, options):
        raise _OutdatedCacheError


def _of_entries(
    entries: Sequence[Entry], described: Sequence[FileDescription], control: Control
) -> list[FileDescription]:
    """Return the description of each entry's file, and report the missing ones."""
    by_id = {file.file_id: file for file in described}
    for entry in entries:
        if isinstance(file := by_id[entry.file_id], Missing):
            control.file_done(
                entry.file_id,
                copy=entry.copy,
                state="missing",
                size=None,
                name=None,
                error_code=file.code,
                error=file.message,
            )
    return [by_id[entry.file_id] for entry in entries]


def _describe(
    file_ids: Sequence[int],
    deps: BuildDependencies,
    options: BuildOptions,
    cached: Mapping[int, SourceFile],
) -> list[FileDescription]:
    """Return a description of each file. The source is not asked about forbidden ones."""
    forbidden = _forbidden(file_ids, deps, options)
    if not forbidden:
        return deps.source.describe(file_ids, deps.task_group, cached=cached)
    allowed = [file_id for file_id in file_ids if file_id not in forbidden]
    described = iter(
        deps.source.describe(allowed, deps.task_group, cached=cached) if allowed else []
    )
    return [
        Missing.because_of(FileForbidden(), file_id) if file_id in forbidden else next(described)
        for file_id in file_ids
    ]


def _forbidden(
    file_ids: Sequence[int], deps: BuildDependencies, options: BuildOptions
) -> Collection[int]:
    forbidden = options.forbidden
    return () if forbidden is None else deps.task_group.call(lambda: forbidden(file_ids))


def archive_name(request: BuildRequest) -> str:
    """Return the file name of the archive for the client: safe, and with ``.zip`` at the end."""
    name = names.safe_name(request.file_name or "", fallback=f"download-{request.job_id}.zip")
    return name if name.lower().endswith(".zip") else f"{name}.zip"


def _build_archive(
    members: Sequence[Member],
    missing: Sequence[Missing],
    request: BuildRequest,
    deps: BuildDependencies,
    options: BuildOptions,
    previous: PreviousArchive | None,
    verify_sources: Callable[[], None],
) -> StoredArchive:
    """Compose the archive if its files allow that; otherwise stream it through the worker."""
    listed_missing = missing if request.has_manifest else None
    try:
        stored = None
        if all(m.file.ranged and m.file.etag and m.file.size is not None for m in members):
            archive_plan = _plan(members, listed_missing, request.bucket, options)
            if archive_plan is not None:
                stored = _find_or_compose(
                    archive_plan, request, deps, options, previous, verify_sources
                )
        if stored is None:
            stored = _stream(members, listed_missing, request, deps, options)
    except (FileNotFound, SourceForbidden) as error:
        if request.on_missing is OnMissing.SKIP:
            raise ProcessingError(
                "A file became unavailable during the build; the next attempt skips it"
            ) from error
        raise
    return stored


def _plan(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    bucket: str,
    options: BuildOptions,
) -> ArchivePlan | None:
    """Return a plan with copies, or without if those need too many parts; None if none fits."""
    for can_copy in (True, False) if options.can_copy else (False,):
        try:
            return make_archive_plan(
                members, missing, bucket=bucket, part_sizes=options.part_sizes, can_copy=can_copy
            )
        except PlanError:
            continue
    return None


def _find_or_compose(
    archive_plan: ArchivePlan,
    request: BuildRequest,
    deps: BuildDependencies,
    options: BuildOptions,
    previous: PreviousArchive | None,
    verify_sources: Callable[[], None],
) -> StoredArchive:
    cancellation = deps.task_group.cancellation

    def find() -> StoredArchive | None:
        stored = deps.task_group.call(
            lambda: find_archive(archive_plan, deps.storage, cancellation)
        )
        if stored is None or not _is_reusable(stored, options.archive_ttl):
            return None
        return stored

    _hold(archive_plan.key, deps, options)
    lock = options.build_lock(archive_plan.plan_id)
    with acquire_or_find(lock, deps.min_rate, find, may_continue=options.may_continue) as found:
        if found is not None:
            verify_sources()
            options.defer(lambda: discard_upload(deps.storage, UploadLog.load(options.checkpoint)))
            _report_all_done(archive_plan.members, deps.control)
            options.report({"found": 1})
            return found
        deps = replace(deps, task_group=TaskGroup(RenewingControl(deps.min_rate, lock)))
        if previous is not None and not deps.task_group.call(
            partial(previous.exists, deps.storage, deps.task_group.cancellation)
        ):
            previous = None
        try:
            stored, state = compose(
                archive_plan, deps, options.checkpoint, previous, options.may_continue
            )
        except BadChecksum as error:
            if previous is None:
                raise
            log.warning("previous archive not reused", key=previous.key, error=str(error))
            raise _DamagedArchiveError from error

        def finish() -> None:
            if state.resumed:
                discard_upload(deps.storage, state.upload_log)
            else:
                state.upload_log.clear()
            store_index(
                deps.storage,
                archive_plan,
                etag=stored.etag,
                crc32s=state.checksums.crc32s(),
                entries=requested_entries(request.file_ids, request.paths),
            )
            options.report({"composed": 1, **vars(state.stats)})

        options.defer(finish)
        return stored


def _hold(key: str, deps: BuildDependencies, options: BuildOptions) -> None:
    """Record that the job needs the archive, as soon as that is possible."""
    while not options.hold(key):
        deps.control.check()
        time.sleep(ACQUIRE_INTERVAL)


def _stream(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    request: BuildRequest,
    deps: BuildDependencies,
    options: BuildOptions,
) -> StoredArchive:
    stored = stream_archive(
        members,
        missing,
        bucket=request.bucket,
        key=f"{STREAMED_PREFIX}{request.job_id}/{request.fencing_token}/{archive_name(request)}",
        max_bytes=request.max_bytes,
        equal_parts=options.part_sizes.equal_parts,
        deps=deps,
        may_continue=options.may_continue,
    )
    options.report({"streamed": 1, "through_worker": stored.size})
    return stored


def _is_reusable(stored: StoredArchive, archive_ttl: float) -> bool:
    """Return whether the archive exists for ``archive_ttl`` seconds and ``REUSE_MARGIN``."""
    expires_at = stored.expires_at
    if expires_at is None:
        modified = stored.modified or datetime.min.replace(tzinfo=UTC)
        expires_at = modified + timedelta(days=expiry_days(archive_ttl))
    needed_until = datetime.now(UTC) + timedelta(seconds=archive_ttl) + REUSE_MARGIN
    return expires_at >= needed_until


def _report_all_done(members: Sequence[Member], control: Control) -> None:
    for member in members:
        file = member.file
        control.advance(file.size or 0)
        control.file_done(
            file.file_id, copy=member.copy, state="done", size=file.size, name=member.name
        )


def _deliver_directly(
    file: SourceFile, deps: BuildDependencies, options: BuildOptions
) -> Artifact | None:
    """Return the file itself as the result; None if the storage cannot link to it."""
    if file.location is None or not deps.storage.can_link(file.location[0]):
        return None
    bucket, key = file.location
    # Deferred, because the job must not wait for a counter.
    options.defer(lambda: options.report({"single_files": 1, "single_file_bytes": file.size or 0}))
    name = names.safe_name(file.name, fallback=f"file-{file.file_id}")
    deps.control.advance(file.size or 0)
    deps.control.file_done(file.file_id, state="done", size=file.size, name=name)
    return Artifact(
        bucket=bucket,
        key=key,
        name=name,
        size=file.size or 0,
        content_type=file.content_type or "application/octet-stream",
        checksum=None if file.crc32 is None else f"crc32:{file.crc32:08x}",
        etag=file.etag,
    )
