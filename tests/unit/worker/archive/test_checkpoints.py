"""Checkpoints and turns, on the job store."""

from __future__ import annotations

from typing import NoReturn

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store import keys
from common.job_store.build_lock import RedisBuildLock
from common.job_store.checkpoints import Checkpoints
from common.object_storage import UploadedPart
from tests.support.archives import RecordingControl
from worker.archive.build_lock import acquire_or_find
from worker.archive.composing.upload_log import UploadLog

JOB = keys.new_job_id("ann")
PLAN = "f" * 40


def a_part(number: int) -> UploadedPart:
    return UploadedPart(
        number=number, etag='"' + "d41d8cd98f00b204e9800998ecf8427e" + '"', crc32=2**32 - 1
    )


def test_a_journal_is_read_back_as_it_was_written(redis: Redis) -> None:
    upload_log = UploadLog.load(Checkpoints(redis).for_job(JOB))
    upload_log.begin(PLAN, "archives", "archives/x/archive.zip")
    upload_log.add_upload("upload-1")
    upload_log.add_part(a_part(7), [1, 2**32 - 1])
    upload_log.add_ladder_part(9, "upload-2", UploadedPart(number=1, etag='"abc"', crc32=5))

    again = UploadLog.load(Checkpoints(redis).for_job(JOB))

    assert (again.plan_id, again.bucket, again.upload_id) == (PLAN, "archives", "upload-1")
    assert again.key == "archives/x/archive.zip"
    assert again.parts == upload_log.parts
    assert again.ladder_parts == upload_log.ladder_parts


def test_a_part_takes_less_than_150_bytes(redis: Redis) -> None:
    checkpoint = Checkpoints(redis).for_job(JOB)
    upload_log = UploadLog.load(checkpoint)
    upload_log.begin(PLAN, "archives", "k")
    upload_log.add_part(a_part(10_000), [2**32 - 1])
    upload_log.add_ladder_part(
        10_000, "f" * 73, UploadedPart(number=1, etag='"' + "a" * 32 + '"', crc32=2**32 - 1)
    )
    assert all(len(record) < 150 for record in checkpoint.load()[1:])


def test_torn_and_foreign_records_are_not_there(redis: Redis) -> None:
    checkpoint = Checkpoints(redis).for_job(JOB)
    upload_log = UploadLog.load(checkpoint)
    upload_log.begin(PLAN, "archives", "k")
    upload_log.add_upload("u")
    checkpoint.append(b'["part","ffffffff",1,"abc')
    checkpoint.append(b'["part","00000000",2,"abc",1,""]')
    checkpoint.append(b'{"no": "record"}')
    again = UploadLog.load(checkpoint)
    assert (again.upload_id, again.parts) == ("u", {})


def test_a_job_at_work_goes_on_without_its_records_while_the_store_is_away(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> NoReturn:
        raise RedisConnectionError

    first = UploadLog.load(Checkpoints(redis).for_attempt(JOB))
    first.begin(PLAN, "archives", "k")
    first.add_upload("upload-1")
    first.add_part(a_part(1), [])
    monkeypatch.setattr(redis, "lrange", away)
    monkeypatch.setattr(redis, "pipeline", away)
    second = UploadLog.load(Checkpoints(redis).for_attempt(JOB))
    assert second.plan_id is None
    second.clear()
    monkeypatch.undo()
    second.begin(PLAN, "archives", "k")
    second.add_upload("upload-2")
    again = UploadLog.load(Checkpoints(redis).for_attempt(JOB))
    assert (again.upload_id, again.parts) == ("upload-2", {})


def test_jobs_with_records_are_listed_until_they_are_cleared(redis: Redis) -> None:
    checkpoints = Checkpoints(redis)
    checkpoints.for_job(JOB).append(b"record")
    assert list(checkpoints.job_ids()) == [JOB]
    assert 0 < redis.ttl(keys.upload_log(JOB)) <= 2 * 86_400
    checkpoints.for_job(JOB).clear()
    assert list(checkpoints.job_ids()) == []
    assert redis.keys("*") == []


def test_a_turn_belongs_to_one_job_but_survives_that_jobs_worker(redis: Redis) -> None:
    first, second = RedisBuildLock(redis, PLAN, "job-1"), RedisBuildLock(redis, PLAN, "job-2")
    assert first.acquire()
    assert not second.acquire()
    assert RedisBuildLock(redis, PLAN, "job-1").acquire()
    second.release()
    assert not second.acquire()
    first.release()
    assert second.acquire()


def test_a_turn_lapses_unless_it_is_kept(redis: Redis) -> None:
    turn = RedisBuildLock(redis, PLAN, "job-1")
    turn.acquire()
    redis.pexpire(keys.build_lock(PLAN), 100)
    turn.renew()
    assert redis.pttl(keys.build_lock(PLAN)) > 10_000


def test_who_waits_gets_what_the_other_built(redis: Redis) -> None:
    other = RedisBuildLock(redis, PLAN, "job-1")
    other.acquire()
    looks = iter([None, "the archive"])
    with acquire_or_find(
        RedisBuildLock(redis, PLAN, "job-2"), RecordingControl(), lambda: next(looks)
    ) as found:
        assert found == "the archive"
    assert redis.get(keys.build_lock(PLAN)) == "job-1"


def test_who_waited_for_somebody_that_failed_builds(redis: Redis) -> None:
    other = RedisBuildLock(redis, PLAN, "job-1")
    other.acquire()

    class Control(RecordingControl):
        def check(self) -> None:
            other.release()

    with acquire_or_find(RedisBuildLock(redis, PLAN, "job-2"), Control(), lambda: None) as found:
        assert found is None
        assert redis.get(keys.build_lock(PLAN)) == "job-2"
    assert redis.get(keys.build_lock(PLAN)) is None
