"""Builds an archive inside the store: copies first, then what is written around them."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from common.errors import CancelRequested, DownloadError
from common.object_storage import BadChecksum, Cancellation, NoSuchKey, NoSuchUpload, ObjectStorage
from worker.archive.composing.copying import copy_parts
from worker.archive.composing.previous_archive import PreviousArchive
from worker.archive.composing.state import ArchivePlan, BuildState, BuildTools, StoredArchive
from worker.archive.composing.upload_log import Checkpoint, NoUploadLog, UploadLog
from worker.archive.composing.writing import write_parts
from worker.archive.planning.layout import Kind
from worker.archive.request import ZIP_TYPE
from worker.archive.zip_format.crc32 import join
from worker.metrics import ARCHIVE_BYTES

log = structlog.get_logger(__name__)


def compose(
    blueprint: ArchivePlan,
    tools: BuildTools,
    checkpoint: Checkpoint,
    previous: PreviousArchive | None,
) -> tuple[StoredArchive, BuildState]:
    """Build, or go on building, what ``blueprint`` says.

    What was begun stays in the store for the next attempt if one may help; else nothing stays.
    """
    journal = UploadLog.load(checkpoint)
    if journal.plan_id not in (None, blueprint.plan_id):
        clear_away(tools.store, journal)
    resumed = journal.plan_id is not None
    work = BuildState(blueprint, tools, journal, previous)
    try:
        stored = _build(work)
    except BaseException as error:
        if _is_over(error) or isinstance(checkpoint, NoUploadLog):
            _tidy(lambda: clear_away(tools.store, journal))
        raise
    _tidy(lambda: clear_away(tools.store, journal) if resumed else _remove_temporaries(work))
    log.info("archive composed", plan=blueprint.plan_id, size=stored.size, **vars(work.tally))
    for way in ("copied", "through_worker", "reused", "resumed"):
        ARCHIVE_BYTES.labels(way).inc(getattr(work.tally, way))
    return stored, work


def find(
    blueprint: ArchivePlan, store: ObjectStorage, cancellation: Cancellation
) -> StoredArchive | None:
    """The archive, if it was built before by whomever: one HEAD."""
    try:
        info = store.head_object(blueprint.bucket, blueprint.key, cancellation=cancellation)
    except NoSuchKey:
        return None
    if info.size != blueprint.plan.size or info.metadata.get("plan") != blueprint.plan_id:
        return None
    return StoredArchive(
        key=blueprint.key, size=info.size, crc32=info.crc32, etag=info.etag, modified=info.modified
    )


def clear_away(store: ObjectStorage, journal: UploadLog) -> None:
    """Remove whatever an upload left behind, but not a finished archive; then forget it."""
    if journal.plan_id is not None:
        prefix = journal.key.rpartition("/")[0] + "/"
        if journal.upload_id:
            store.abort_multipart_upload(journal.bucket, journal.key, journal.upload_id)
        for upload in store.list_multipart_uploads(journal.bucket, prefix):
            store.abort_multipart_upload(journal.bucket, upload.key, upload.upload_id)
        parts = store.list_objects_v2(journal.bucket, prefix=f"{prefix}parts/")
        if parts:
            store.delete_objects(journal.bucket, [part.key for part in parts])
    journal.clear()


def _build(work: BuildState) -> StoredArchive:
    blueprint, journal, tools = work.blueprint, work.journal, work.tools
    if journal.plan_id is None:
        journal.begin(blueprint.plan_id, blueprint.bucket, blueprint.key)
    if not work.is_one_object and journal.upload_id is None:
        journal.started(
            tools.task_group.call(
                lambda: tools.store.create_multipart_upload(
                    blueprint.bucket, blueprint.key, content_type=ZIP_TYPE,
                    metadata=blueprint.metadata, cancellation=work.cancellation,
                )
            )
        )  # fmt: skip
    work.recall()
    copy_parts(work)
    write_parts(work)
    crc32 = join((work.sent[part.number].crc32 or 0, part.size) for part in work.plan.parts)
    if work.is_one_object:
        etag = work.sent[1].etag
    else:
        etag = tools.task_group.call(lambda: _complete(work, crc32))
    return StoredArchive(key=blueprint.key, size=work.plan.size, crc32=crc32, etag=etag)


def _complete(work: BuildState, crc32: int) -> str:
    blueprint, store = work.blueprint, work.tools.store
    parts = [work.sent[part.number] for part in work.plan.parts]
    try:
        return store.complete_multipart_upload(
            blueprint.bucket, blueprint.key, work.upload_id, parts,
            crc32=crc32, size=work.plan.size, cancellation=work.cancellation,
        )  # fmt: skip
    except NoSuchUpload:
        # The answer to an earlier completion was lost, or another worker was faster.
        stored = find(blueprint, store, work.cancellation)
        if stored is None:
            raise
        return stored.etag


def _is_over(error: BaseException) -> bool:
    """Whether no later attempt could go on from what is in the store now."""
    if isinstance(error, CancelRequested | BadChecksum | NoSuchUpload):
        return True
    return isinstance(error, DownloadError) and not error.retryable


def _remove_temporaries(work: BuildState) -> None:
    keys = [
        work.blueprint.temporary(part.number)
        for part in work.plan.parts
        if part.kind is Kind.LADDER
    ]
    for start in range(0, len(keys), 1000):
        work.tools.store.delete_objects(work.blueprint.bucket, keys[start : start + 1000])
    work.journal.clear()


def _tidy(step: Callable[[], None]) -> None:
    """What is left behind is no reason to fail: the bucket's rules remove it some day."""
    try:
        step()
    except DownloadError as error:
        log.warning("remains of an upload are left behind", why=str(error))
