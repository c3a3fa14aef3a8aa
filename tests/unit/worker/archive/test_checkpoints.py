"""Upload logs and build locks in the job store."""

from __future__ import annotations

from typing import NoReturn

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.errors import (
    CancelRequested,
    DeadlineExceeded,
    Draining,
    FileChanged,
    NetworkError,
    ResumableDeadline,
)
from common.job_store import keys
from common.job_store.build_lock import RedisBuildLock
from common.job_store.checkpoints import Checkpoints
from common.object_storage import UploadedPart
from tests.support.archives import RecordingControl
from worker.archive.build_lock import acquire_or_find
from worker.archive.composing.upload_log import UploadLog

JOB = keys.new_job_id("ann")
PLAN = "f" * 40


def make_part(number: int) -> UploadedPart:
    return UploadedPart(
        number=number, etag='"' + "d41d8cd98f00b204e9800998ecf8427e" + '"', crc32=2**32 - 1
    )


def test_an_upload_log_is_read_back_as_it_was_written(redis: Redis) -> None:
    upload_log = UploadLog.load(Checkpoints(redis).for_job(JOB))
    upload_log.begin(PLAN, "archives", "archives/x/archive.zip")
    upload_log.add_upload("upload-1")
    upload_log.add_part(make_part(7), [1, 2**32 - 1])

    loaded = UploadLog.load(Checkpoints(redis).for_job(JOB))

    assert (loaded.plan_id, loaded.bucket, loaded.upload_id) == (PLAN, "archives", "upload-1")
    assert loaded.key == "archives/x/archive.zip"
    assert loaded.parts == upload_log.parts


def test_a_record_takes_less_than_150_bytes(redis: Redis) -> None:
    checkpoint = Checkpoints(redis).for_job(JOB)
    upload_log = UploadLog.load(checkpoint)
    upload_log.begin(PLAN, "archives", "k")
    upload_log.add_part(make_part(10_000), [2**32 - 1])
    assert all(len(record) < 150 for record in checkpoint.load()[1:])


def test_damaged_records_and_those_of_another_plan_are_ignored(redis: Redis) -> None:
    checkpoint = Checkpoints(redis).for_job(JOB)
    upload_log = UploadLog.load(checkpoint)
    upload_log.begin(PLAN, "archives", "k")
    upload_log.add_upload("u")
    checkpoint.append(b'["part","ffffffff",1,"abc')
    checkpoint.append(b'["part","00000000",2,"abc",1,""]')
    # Earlier releases recorded temporary uploads, too.
    checkpoint.append(b'["ladder","ffffffff",9,"upload-2","abc",5]')
    checkpoint.append(b'{"no": "record"}')
    loaded = UploadLog.load(checkpoint)
    assert (loaded.upload_id, loaded.parts) == ("u", {})


@pytest.mark.parametrize("logged", ["upload-1", None])
def test_parts_of_an_upload_whose_record_was_lost_are_ignored(
    redis: Redis, logged: str | None
) -> None:
    checkpoint = Checkpoints(redis).for_job(JOB)
    upload_log = UploadLog.load(checkpoint)
    upload_log.begin(PLAN, "archives", "k")
    if logged:
        upload_log.add_upload(logged)
    upload_log.upload_id = "upload-2"
    upload_log.add_part(make_part(1), [])
    loaded = UploadLog.load(checkpoint)
    assert (loaded.upload_id, loaded.parts) == (logged, {})


def test_another_upload_starts_without_parts(redis: Redis) -> None:
    checkpoint = Checkpoints(redis).for_job(JOB)
    upload_log = UploadLog.load(checkpoint)
    upload_log.begin(PLAN, "archives", "k")
    upload_log.add_upload("upload-1")
    upload_log.add_part(make_part(1), [])
    upload_log.add_upload("upload-2")
    assert upload_log.parts == UploadLog.load(checkpoint).parts == {}


def test_an_attempt_continues_without_its_records_while_the_job_store_is_unavailable(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> NoReturn:
        raise RedisConnectionError

    first = UploadLog.load(Checkpoints(redis).for_attempt(JOB))
    first.begin(PLAN, "archives", "k")
    first.add_upload("upload-1")
    first.add_part(make_part(1), [])
    monkeypatch.setattr(redis, "lrange", unavailable)
    monkeypatch.setattr(redis, "pipeline", unavailable)
    second = UploadLog.load(Checkpoints(redis).for_attempt(JOB))
    assert second.plan_id is None
    second.clear()
    monkeypatch.undo()
    second.begin(PLAN, "archives", "k")
    second.add_upload("upload-2")
    loaded = UploadLog.load(Checkpoints(redis).for_attempt(JOB))
    assert (loaded.upload_id, loaded.parts) == ("upload-2", {})


def test_jobs_with_records_are_listed_until_they_are_cleared(redis: Redis) -> None:
    checkpoints = Checkpoints(redis)
    checkpoints.for_job(JOB).append(b"record")
    assert list(checkpoints.job_ids()) == [JOB]
    assert 0 < redis.ttl(keys.upload_log(JOB)) <= 2 * 86_400
    checkpoints.for_job(JOB).clear()
    assert list(checkpoints.job_ids()) == []
    assert redis.keys("*") == []


def test_a_worker_that_hung_leaves_no_records_of_a_job_that_another_one_completed(
    redis: Redis,
) -> None:
    hung, other = Checkpoints(redis).for_attempt(JOB), Checkpoints(redis).for_attempt(JOB)
    hung.append(b"plan")
    hung.append(b"part 1")
    assert other.load() == [b"plan", b"part 1"]
    other.clear()
    hung.append(b"part 2")
    assert redis.keys("*") == []


def test_a_build_lock_belongs_to_a_job_and_not_to_its_worker(redis: Redis) -> None:
    first, second = RedisBuildLock(redis, PLAN, "job-1"), RedisBuildLock(redis, PLAN, "job-2")
    assert first.acquire()
    assert not second.acquire()
    assert RedisBuildLock(redis, PLAN, "job-1").acquire()
    second.release()
    assert not second.acquire()
    first.release()
    assert second.acquire()


@pytest.fixture
def lock(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> RedisBuildLock:
    """The lock of a job, which it can renew at any time."""
    monkeypatch.setattr("common.job_store.build_lock.RENEW_INTERVAL", 0)
    lock = RedisBuildLock(redis, PLAN, "job-1")
    assert lock.acquire()
    return lock


def test_renew_extends_the_expiry_of_a_build_lock(redis: Redis, lock: RedisBuildLock) -> None:
    redis.pexpire(keys.build_lock(PLAN), 100)
    lock.renew()
    assert redis.pttl(keys.build_lock(PLAN)) > 10_000


def test_the_next_attempt_extends_the_build_lock_of_its_job(
    redis: Redis, lock: RedisBuildLock
) -> None:
    redis.pexpire(keys.build_lock(PLAN), 100)
    assert RedisBuildLock(redis, PLAN, "job-1").acquire()
    assert redis.pttl(keys.build_lock(PLAN)) > 10_000


def test_renew_does_not_extend_the_build_lock_of_another_job(
    redis: Redis, lock: RedisBuildLock
) -> None:
    redis.set(keys.build_lock(PLAN), "job-2", px=10_000)
    lock.renew()
    assert redis.get(keys.build_lock(PLAN)) == "job-2"
    assert redis.pttl(keys.build_lock(PLAN)) <= 10_000


def test_renew_acquires_a_build_lock_that_expired(redis: Redis, lock: RedisBuildLock) -> None:
    redis.delete(keys.build_lock(PLAN))
    lock.renew()
    assert redis.get(keys.build_lock(PLAN)) == "job-1"


def test_a_build_lock_is_not_renewed_more_often_than_necessary(redis: Redis) -> None:
    lock = RedisBuildLock(redis, PLAN, "job-1")
    lock.acquire()
    redis.delete(keys.build_lock(PLAN))
    lock.renew()
    assert not redis.exists(keys.build_lock(PLAN))


@pytest.mark.parametrize(("error", "holder"), [
    (DeadlineExceeded(), "job-1"), (NetworkError(), "job-1"), (Draining(), "job-1"),
    (CancelRequested(), None), (FileChanged(), None),
], ids=repr)  # fmt: skip
def test_a_build_that_can_be_resumed_keeps_the_build_lock(
    redis: Redis, lock: RedisBuildLock, error: Exception, holder: str | None
) -> None:
    def build() -> None:
        with acquire_or_find(lock, RecordingControl(), lambda: None, may_continue=lambda: True):
            raise error

    with pytest.raises(type(error)):
        build()
    assert redis.get(keys.build_lock(PLAN)) == holder


@pytest.mark.parametrize(("may_continue", "error"), [
    (True, ResumableDeadline), (False, DeadlineExceeded),
])  # fmt: skip
def test_a_job_that_waits_for_another_one_is_returned_to_the_queue_at_the_deadline(
    redis: Redis, lock: RedisBuildLock, may_continue: bool, error: type[Exception]
) -> None:
    waiting = acquire_or_find(
        RedisBuildLock(redis, PLAN, "job-2"),
        RecordingControl(stop_with=DeadlineExceeded()),
        lambda: None,
        may_continue=lambda: may_continue,
    )
    with pytest.raises(error), waiting:
        pass
    assert redis.get(keys.build_lock(PLAN)) == "job-1"


def test_a_waiting_job_gets_the_archive_that_the_other_job_built(redis: Redis) -> None:
    other = RedisBuildLock(redis, PLAN, "job-1")
    other.acquire()
    results = iter([None, "the archive"])
    with acquire_or_find(
        RedisBuildLock(redis, PLAN, "job-2"),
        RecordingControl(),
        lambda: next(results),
        may_continue=lambda: True,
    ) as found:
        assert found == "the archive"
    assert redis.get(keys.build_lock(PLAN)) == "job-1"


def test_a_waiting_job_builds_after_the_other_job_failed(redis: Redis) -> None:
    other = RedisBuildLock(redis, PLAN, "job-1")
    other.acquire()

    class Control(RecordingControl):
        def check(self) -> None:
            other.release()

    with acquire_or_find(
        RedisBuildLock(redis, PLAN, "job-2"), Control(), lambda: None, may_continue=lambda: True
    ) as found:
        assert found is None
        assert redis.get(keys.build_lock(PLAN)) == "job-2"
    assert redis.get(keys.build_lock(PLAN)) is None
