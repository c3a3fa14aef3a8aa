"""The second half of a ladder: the short part, and the copy of both as one part."""

from __future__ import annotations

from common.errors import StorageError
from common.object_storage import BadChecksum, NoSuchKey, NoSuchUpload, UploadedPart
from worker.archive.composing.state import BuildState
from worker.archive.planning.layout import PlannedPart
from worker.archive.zip_format.crc32 import combine


def climb(work: BuildState, planned: PlannedPart, content: memoryview, crc32: int) -> UploadedPart:
    """Put ``content`` behind the range that was copied before; returns the part that is both."""
    store, bucket, cancellation = work.tools.store, work.blueprint.bucket, work.cancellation
    key = work.blueprint.temporary(planned.number)
    rung = work.journal.rungs[planned.number]
    whole = combine(rung.part.crc32 or 0, crc32, len(content))
    try:
        short = store.upload_part(
            bucket, key, rung.upload_id, 2, content, crc32=crc32, cancellation=cancellation
        )
        etag = store.complete_multipart_upload(
            bucket, key, rung.upload_id, [rung.part, short],
            crc32=whole, size=planned.size, cancellation=cancellation,
        )  # fmt: skip
    except NoSuchUpload:
        etag = _completed_before(work, planned, key, whole)
    try:
        part = store.upload_part_copy(
            bucket, work.blueprint.key, work.upload_id, planned.number,
            source=(bucket, key), start=0, length=planned.size, if_match=etag, cancellation=cancellation,
        )  # fmt: skip
    except NoSuchUpload:
        raise
    except NoSuchKey as error:
        raise StorageError("The storage lost a temporary object") from error
    if part.crc32 not in (None, whole):
        raise BadChecksum("The storage copied other bytes than it had")
    return UploadedPart(number=planned.number, etag=part.etag, crc32=whole)


def _completed_before(work: BuildState, planned: PlannedPart, key: str, crc32: int) -> str:
    """The ETag of the temporary object, if an earlier attempt finished it before it died."""
    try:
        info = work.tools.store.head_object(
            work.blueprint.bucket, key, cancellation=work.cancellation
        )
    except NoSuchKey:
        raise NoSuchUpload("A temporary upload is gone") from None
    if info.size != planned.size or info.crc32 not in (None, crc32):
        raise NoSuchUpload("A temporary upload is gone")
    return info.etag
