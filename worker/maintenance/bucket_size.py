"""Measures the archive bucket once an hour, by one worker for all: listing it costs requests."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.errors import DownloadError
from common.job_store.bucket_size import BucketSize
from common.job_store.errors import describe
from worker.loop_thread import LoopThread

if TYPE_CHECKING:
    from common.job_store.bucket_size import MeasuredBucketSize
    from common.job_store.periodic_task_lock import PeriodicTaskLock
    from common.object_storage import ObjectStorage

#: Seconds between two measurements, by all workers together.
MEASUREMENT_INTERVAL: Final = 3_600.0
#: Objects in one ListObjectsV2 response, and responses read in one measurement.
PAGE_SIZE: Final = 1_000
MAX_PAGES: Final = 1_000
#: Seconds between two rounds of a worker's thread.
_ROUND: Final = 60.0

log = structlog.get_logger(__name__)


def measure(
    storage: ObjectStorage, bucket: str, renew_lock: Callable[[], object] = lambda: None
) -> BucketSize:
    """Return how many objects a bucket has, and how many bytes. Raise ``DownloadError``."""
    objects = size = 0
    after = ""
    for _ in range(MAX_PAGES):
        page = storage.list_objects_v2(bucket, start_after=after, limit=PAGE_SIZE)
        objects += len(page)
        size += sum(entry.size for entry in page)
        if not page.is_truncated:
            return BucketSize(objects=objects, bytes=size, complete=True)
        after = page[-1].key
        renew_lock()
    return BucketSize(objects=objects, bytes=size, complete=False)


class BucketSizeThread(LoopThread):
    """Measures the bucket when it is due and no other worker does."""

    first_pause = 5.0

    def __init__(
        self,
        storage: ObjectStorage,
        bucket: str,
        measured: MeasuredBucketSize,
        lock: PeriodicTaskLock,
    ) -> None:
        super().__init__("bucket size")
        self._storage = storage
        self._bucket = bucket
        self._measured = measured
        self._lock = lock

    def step(self) -> float:
        try:
            self._lock.run_if_due(self._measure)
        except (DownloadError, RedisError) as error:
            log.warning("bucket not measured", reason=describe(error))
        except Exception:
            log.exception("measuring the bucket raised an unexpected error")
        return _ROUND * random.uniform(0.8, 1.2)  # noqa: S311

    def _measure(self, renew_lock: Callable[[], object]) -> None:
        self._measured.publish(measure(self._storage, self._bucket, renew_lock))
