"""Deletes expired archives on storages without lifecycle rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from common.object_storage import ObjectStorage
from common.object_storage.lifecycle import OWN_PREFIXES
from worker.archive.listing import pages_below


def delete_expired_objects(
    storage: ObjectStorage,
    bucket: str,
    *,
    max_age: timedelta,
    now: datetime,
    renew_lock: Callable[[], object] = lambda: None,
) -> int:
    """Delete our objects that are older than ``max_age`` and return their number.

    This does what the lifecycle rules of ``BucketCalls.ensure_bucket`` do, with the same prefixes.
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
            if expired:
                storage.delete_objects(bucket, expired)
                deleted += len(expired)
            renew_lock()
    return deleted
