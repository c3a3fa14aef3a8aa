"""Does what lifecycle rules would do, on storages without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from common.errors import DownloadError
from common.job_store.archive_references import DELETE_TIMEOUT, ArchiveRemovals
from common.object_storage import Cancellation, ObjectStorage
from common.object_storage.lifecycle import OWN_PREFIXES
from common.object_storage.retry_budget import RetryBudget
from worker.archive.listing import pages_below
from worker.archive.planning.archive_plan import PREFIX as COMPOSED_PREFIX

log = structlog.get_logger(__name__)

#: Archives that no job can hold at the same time, because they are being deleted.
BATCH_SIZE = 100


def delete_expired_objects(
    storage: ObjectStorage,
    bucket: str,
    removals: ArchiveRemovals,
    *,
    max_age: timedelta,
    now: datetime,
    renew_lock: Callable[[], object] = lambda: None,
) -> int:
    """Delete our objects that are older than ``max_age`` and return their number.

    This and ``abort_expired_uploads`` do what the lifecycle rules of ``BucketCalls.ensure_bucket``
    do, with the same prefixes.

    A composed archive is kept while a job holds it: the job may have replaced it since the listing.
    """
    deleted = 0
    for prefix in OWN_PREFIXES:
        for page in pages_below(storage, bucket, prefix):
            # The prefix is checked again: a server that ignores it would list foreign objects.
            expired = [
                entry.key
                for entry in page
                if entry.key.startswith(prefix)
                and entry.modified is not None
                and now - entry.modified > max_age
            ]
            if prefix == COMPOSED_PREFIX:
                deleted += _delete_unheld(storage, bucket, removals, expired, renew_lock)
            elif expired:
                deleted += _delete(expired, partial(storage.delete_objects, bucket))
            renew_lock()
    return deleted


def abort_expired_uploads(
    storage: ObjectStorage,
    bucket: str,
    *,
    max_age: timedelta,
    now: datetime,
    renew_lock: Callable[[], object] = lambda: None,
) -> int:
    """Abort our uploads that began more than ``max_age`` ago and return their number.

    Those of dead attempts are aborted earlier, by the cleanup. No upload log knows the others, such
    as those of a storage probe whose worker was killed.
    """
    expired = [
        upload
        for prefix in OWN_PREFIXES
        for upload in storage.list_multipart_uploads(bucket, prefix)
        if upload.initiated is not None and now - upload.initiated > max_age
    ]
    aborted = 0
    for upload in expired:
        renew_lock()
        try:
            storage.abort_multipart_upload(bucket, upload.key, upload.upload_id)
            aborted += 1
        except DownloadError as error:
            log.warning("expired upload not aborted", key=upload.key, reason=error.message)
    return aborted


def _delete_unheld(
    storage: ObjectStorage,
    bucket: str,
    removals: ArchiveRemovals,
    keys: Sequence[str],
    renew_lock: Callable[[], object],
) -> int:
    # Not retried, and one request for each batch: the time for the deletion is limited.
    delete = partial(
        storage.delete_objects,
        bucket,
        timeout=DELETE_TIMEOUT,
        cancellation=Cancellation(RetryBudget(max_retries=0)),
    )
    deleted, size = 0, BATCH_SIZE if storage.profile.multi_delete else 1
    for start in range(0, len(keys), size):
        remove = partial(removals.remove_unheld, delete=delete)
        deleted += _delete(keys[start : start + size], remove)
        renew_lock()
    return deleted


def _delete(keys: Sequence[str], delete: Callable[[Sequence[str]], int | None]) -> int:
    """Return how many objects were deleted. If these cannot be, others still are."""
    try:
        deleted = delete(keys)
    except DownloadError as error:
        log.warning("expired objects not deleted", first=keys[0], reason=error.message)
        return 0
    return len(keys) if deleted is None else deleted
