"""The size of the archive bucket is measured page by page, and rarely."""

from __future__ import annotations

import pytest
from redis import Redis

from common.errors import NetworkError
from common.job_store import keys
from common.job_store.bucket_size import BucketSize, MeasuredBucketSize
from common.job_store.periodic_task_lock import PeriodicTaskLock
from common.object_storage import ListedObject, ObjectPage
from worker.maintenance import bucket_size
from worker.maintenance.bucket_size import BucketSizeThread, measure


class Storage:
    """An object storage with objects of 10 bytes each."""

    def __init__(self, objects: int) -> None:
        self.keys = [f"archives/{number:06}" for number in range(objects)]
        self.max_page_size = 1_000
        self.requests = 0
        self.broken = False

    def list_objects_v2(self, _: str, *, start_after: str, limit: int) -> ObjectPage:
        self.requests += 1
        if self.broken:
            raise NetworkError
        later = [key for key in self.keys if key > start_after]
        # A page may be shorter than the request allows.
        limit = min(limit, self.max_page_size)
        page = [ListedObject(key=key, size=10, etag="", modified=None) for key in later[:limit]]
        return ObjectPage(page, is_truncated=len(later) > limit)


@pytest.mark.parametrize("objects", [0, 1, 999, 1_000, 1_001, 2_500])
def test_all_pages_are_counted(objects: int) -> None:
    renewed: list[None] = []
    found = measure(Storage(objects), "archives", lambda: renewed.append(None))
    assert found == BucketSize(objects=objects, bytes=10 * objects, complete=True)
    assert len(renewed) == max(0, objects - 1) // bucket_size.PAGE_SIZE


def test_a_short_page_is_not_the_last_one() -> None:
    storage = Storage(300)
    storage.max_page_size = 70
    assert measure(storage, "archives") == BucketSize(objects=300, bytes=3_000, complete=True)
    assert storage.requests == 5


def test_a_measurement_reads_a_limited_number_of_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_size, "MAX_PAGES", 2)
    storage = Storage(5_000)
    assert measure(storage, "archives") == BucketSize(objects=2_000, bytes=20_000, complete=False)
    assert storage.requests == 2


def test_one_worker_measures_for_all_and_an_outage_is_tried_again(redis: Redis) -> None:
    storage, measured = Storage(3), MeasuredBucketSize(redis)

    def thread() -> BucketSizeThread:
        lock = PeriodicTaskLock(
            redis, lock_key=keys.BUCKET_SIZE_LOCK, done_key=keys.BUCKET_SIZE_DONE, interval=60
        )
        return BucketSizeThread(storage, "archives", measured, lock)

    storage.broken = True
    thread().step()
    assert measured.read() is None
    storage.broken = False
    thread().step()
    thread().step()
    assert measured.read() == BucketSize(objects=3, bytes=30, complete=True)
    assert storage.requests == 2
