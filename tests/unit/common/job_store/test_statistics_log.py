"""The statistics of the last hours: one sample per minute, from any of the workers."""

from __future__ import annotations

from redis import Redis

from common.job_store import keys, statistics_log
from common.job_store.jobs import JobStore
from common.job_store.statistics_log import Sample, StatisticsLog
from common.jobs.model import JobSpec


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_one_of_several_workers_writes_a_sample(redis: Redis, jobs: JobStore) -> None:
    first, second = (StatisticsLog(redis, clock=Clock()) for _ in range(2))
    job = jobs.create("ada", JobSpec(file_ids=(1,))).job
    jobs.create("bob", JobSpec(file_ids=(1,)))
    jobs.claim(job.id, "worker")
    assert [log.record_if_due() for log in (first, second)] == [True, False]
    (sample,) = first.newest(10)
    assert (sample.waiting, sample.processing, sample.started) == (1, 1, 1)
    assert sample.at > 1_600_000_000_000


def test_the_next_sample_is_due_after_the_interval(redis: Redis) -> None:
    clock = Clock()
    log = StatisticsLog(redis, clock=clock)
    assert log.record_if_due()
    assert not log.record_if_due()
    redis.delete(keys.STATISTICS_LOCK)
    assert not log.record_if_due()
    clock.now += statistics_log.INTERVAL
    assert log.record_if_due()
    assert 0 < redis.pttl(keys.STATISTICS_LOCK) <= statistics_log.INTERVAL * 1000
    assert 0 < redis.ttl(keys.STATISTICS_LOG) <= 86_400


def test_the_newest_samples_are_kept_and_read_oldest_first(redis: Redis) -> None:
    for number in range(statistics_log.MAX_SAMPLES + 5):
        redis.rpush(keys.STATISTICS_LOG, f'{{"at":{number},"mood":"good"}}')
    log = StatisticsLog(redis, clock=Clock())
    assert log.record_if_due()
    assert redis.llen(keys.STATISTICS_LOG) == statistics_log.MAX_SAMPLES
    newest = log.newest(3)
    assert newest[:2] == [Sample(at=1_443), Sample(at=1_444)]
    assert newest[2].at > 1_444
