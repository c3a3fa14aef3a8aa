"""A paused queue starts no job and loses none."""

from __future__ import annotations

import pytest
from redis import Redis

from common.job_store import keys
from common.job_store import sweeper as sweeper_module
from common.job_store.jobs import JobStore
from common.job_store.pause import Pause
from common.job_store.sweeper import Sweeper
from common.jobs.model import PRIORITIES, Failure, JobSpec
from tests.unit.conftest import RecordedWakeUps


def empty() -> dict[str, int]:
    return dict.fromkeys(PRIORITIES, 0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper_module, "LOST_AFTER", -1)


def test_wake_ups_that_were_rejected_are_sent_again_after_the_pause(
    redis: Redis, jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps
) -> None:
    pause = Pause(redis)
    ids = [jobs.create(f"user-{n}", JobSpec(file_ids=(1,))).job.id for n in range(20)]
    pause.pause()
    assert pause.paused()
    assert all(jobs.claim(job_id, "worker") is None for job_id in ids)
    assert sweeper.sweep(empty).resent == 0
    pause.resume()
    assert not pause.paused()
    wake_ups.wake_ups.clear()
    assert sweeper.sweep(empty).resent == 20
    assert sorted(job_id for job_id, _ in wake_ups.sent) == sorted(ids)
    assert all(jobs.claim(job_id, "worker") for job_id in ids)


def test_a_retry_that_becomes_due_waits_for_the_end_of_the_pause(
    redis: Redis, jobs: JobStore, sweeper: Sweeper
) -> None:
    job_id = jobs.create("alice", JobSpec(file_ids=(1,))).job.id
    claim = jobs.claim(job_id, "worker")
    assert claim
    failure = Failure(code="NETWORK_ERROR", message="", retryable=True)
    jobs.retry_later(claim.lease, failure, delay=60)
    redis.zadd(keys.of_partition("retries", keys.tag_of_job(job_id)), {job_id: 0})
    pause = Pause(redis)
    pause.pause()
    assert sweeper.sweep(empty).promoted == 0
    pause.resume()
    assert sweeper.sweep(empty).promoted == 1
    assert jobs.claim(job_id, "worker")


def test_a_running_job_continues_and_finishes_during_a_pause(redis: Redis, jobs: JobStore) -> None:
    job_id = jobs.create("alice", JobSpec(file_ids=(1,))).job.id
    claim = jobs.claim(job_id, "worker")
    assert claim
    Pause(redis).pause()
    assert jobs.heartbeat(claim.lease, {}) == "CONTINUE"
    failure = Failure(code="FILE_NOT_FOUND", message="", retryable=False)
    assert jobs.fail(claim.lease, failure).terminal
