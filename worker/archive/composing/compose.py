"""Composes an archive inside the storage, as one upload of copied and of written parts."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from common.errors import (
    CancelRequested,
    DeadlineExceeded,
    DownloadError,
    ResumableDeadline,
    SourceForbidden,
)
from common.object_storage import (
    BadChecksum,
    Cancellation,
    NoSuchKey,
    NoSuchUpload,
    ObjectInfo,
    ObjectStorage,
)
from common.object_storage.errors import BucketForbidden
from worker.archive.composing.previous_archive import PreviousArchive
from worker.archive.composing.state import BuildDependencies, BuildState, StoredArchive
from worker.archive.composing.transfers import transfer_parts
from worker.archive.composing.upload_log import Checkpoint, NoCheckpoint, UploadLog
from worker.archive.planning.archive_plan import ArchivePlan
from worker.archive.zip_format import records
from worker.archive.zip_format.crc32 import join

log = structlog.get_logger(__name__)


def compose(
    archive_plan: ArchivePlan,
    deps: BuildDependencies,
    checkpoint: Checkpoint,
    previous: PreviousArchive | None,
    may_continue: Callable[[], bool],
) -> tuple[StoredArchive, BuildState]:
    """Build the planned archive, or resume its build.

    If it fails in a way that another attempt may resume, the upload stays in the storage;
    otherwise it is deleted. The log of the upload stays until the job is completed.

    ``may_continue`` returns whether the job may still be continued at a deadline. Raise
    ResumableDeadline there if this attempt has uploaded parts: the next attempt continues with
    them, so that large archives do not use up attempts.
    """
    upload_log = UploadLog.load(checkpoint)
    if upload_log.plan_id not in (None, archive_plan.plan_id):
        cancellation = deps.task_group.cancellation
        deps.task_group.call(lambda: discard_upload(deps.storage, upload_log, cancellation))
        upload_log.clear()
    state = BuildState(archive_plan, deps, upload_log, previous)
    try:
        stored = _build(state)
    except BaseException as error:
        if not is_resumable(error) or isinstance(checkpoint, NoCheckpoint):
            retries = Cancellation(state.cancellation.storage_retries)
            discard_upload(deps.storage, upload_log, retries)
            if isinstance(error, BadChecksum | NoSuchUpload):
                # Also if that failed: the next attempt must not continue with these parts. The
                # cleanup finds uploads that no log names.
                upload_log.clear()
        elif isinstance(error, DeadlineExceeded) and state.has_new_parts and may_continue():
            raise ResumableDeadline from error
        raise
    log.info("archive composed", plan=archive_plan.plan_id, size=stored.size, **vars(state.stats))
    return stored, state


def is_resumable(error: BaseException) -> bool:
    """Return whether a later attempt may continue with the parts that the storage has now."""
    if isinstance(error, CancelRequested | BadChecksum | NoSuchUpload):
        return False
    return not isinstance(error, DownloadError) or error.retryable


def find_archive(
    archive_plan: ArchivePlan, storage: ObjectStorage, cancellation: Cancellation
) -> StoredArchive | None:
    """Return the archive if any job has built it before; this takes one HEAD request."""
    info = find_object(
        storage, archive_plan.bucket, archive_plan.key, archive_plan.plan.size, cancellation
    )
    if info is None or info.metadata.get("plan") != archive_plan.plan_id:
        return None
    return StoredArchive(
        key=archive_plan.key,
        size=info.size,
        crc32=info.crc32,
        etag=info.etag,
        modified=info.modified,
        expires_at=info.expires_at,
    )


def find_object(
    storage: ObjectStorage, bucket: str, key: str, size: int, cancellation: Cancellation
) -> ObjectInfo | None:
    """Return what the storage says about an object of this size, or None if there is none."""
    try:
        info = storage.head_object(bucket, key, cancellation=cancellation)
    except NoSuchKey:
        return None
    except SourceForbidden as error:
        raise BucketForbidden from error
    return info if info.size == size else None


def delete_upload(
    storage: ObjectStorage, upload_log: UploadLog, cancellation: Cancellation | None = None
) -> None:
    """Delete the upload of a build and its log, but no finished archive.

    Other uploads of the same archive may be those of other jobs.
    """
    if upload_log.plan_id is not None:
        bucket = upload_log.bucket
        prefix = upload_log.key.rpartition("/")[0] + "/"
        cancellation = cancellation or Cancellation()
        if upload_log.upload_id:
            storage.abort_multipart_upload(
                bucket, upload_log.key, upload_log.upload_id, cancellation=cancellation
            )
        # Version 0.1 also wrote temporary objects. Its unfinished builds may still have some.
        prefix = f"{prefix}parts/"
        temporaries = storage.list_objects_v2(bucket, prefix=prefix, cancellation=cancellation)
        # A server that ignores the prefix lists objects of others.
        if keys := [item.key for item in temporaries if item.key.startswith(prefix)]:
            storage.delete_objects(bucket, keys, cancellation=cancellation)
    upload_log.clear()


def discard_upload(
    storage: ObjectStorage, upload_log: UploadLog, cancellation: Cancellation | None = None
) -> None:
    """Delete the upload of a build and its log; if that fails, a cleanup does it later."""
    try:
        delete_upload(storage, upload_log, cancellation)
    except DownloadError as error:
        log.warning("upload not cleaned up", error=str(error))


def _build(state: BuildState) -> StoredArchive:
    archive_plan, upload_log, deps = state.archive_plan, state.upload_log, state.deps
    if upload_log.plan_id is None:
        upload_log.begin(archive_plan.plan_id, archive_plan.bucket, archive_plan.key)
    if not state.is_single_put and upload_log.upload_id is None:
        upload_log.add_upload(
            deps.task_group.call(
                lambda: deps.storage.create_multipart_upload(
                    archive_plan.bucket, archive_plan.key, content_type=records.CONTENT_TYPE,
                    metadata=archive_plan.metadata, cancellation=state.cancellation,
                )
            )
        )  # fmt: skip
    if not state.is_single_put:
        # The object of a single put that is logged may have been deleted since, or is not reusable.
        state.resume()
    transfer_parts(state)
    parts = state.uploaded_parts
    crc32 = join((parts[p.number].crc32 or 0, p.size) for p in state.plan.parts)
    if state.is_single_put:
        etag = parts[1].etag
    else:
        etag = deps.task_group.call(lambda: _complete(state, crc32))
    return StoredArchive(key=archive_plan.key, size=state.plan.size, crc32=crc32, etag=etag)


def _complete(state: BuildState, crc32: int) -> str:
    archive_plan, storage = state.archive_plan, state.deps.storage
    parts = [state.uploaded_parts[part.number] for part in state.plan.parts]
    try:
        return storage.complete_multipart_upload(
            archive_plan.bucket, archive_plan.key, state.upload_id, parts,
            crc32=crc32, size=state.plan.size, cancellation=state.cancellation,
        )  # fmt: skip
    except NoSuchUpload:
        # The response to an earlier completion was lost, or another worker was faster.
        stored = find_archive(archive_plan, storage, state.cancellation)
        if stored is None:
            raise
        return stored.etag
