"""Webhooks in the store: one for each terminal state, leased, never lost, with a log."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from common.job_store import keys
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog, StateLogEntry
from common.job_store.webhook_deliveries import DeliveryAttempt, WebhookDeliveries, WebhookDelivery
from common.jobs.model import Artifact, JobSpec, Progress
from common.jobs.transitions import JobState

URL = "https://example.com/hook"


@pytest.fixture
def deliveries(redis: Redis) -> WebhookDeliveries:
    return WebhookDeliveries(redis)


def terminal(jobs: JobStore, redis: Redis, *, callback_url: str | None = URL) -> StateLogEntry:
    """The state log's entry of a job that was just cancelled."""
    state_log = StateLog(redis, "test", "reader")
    state_log.create_group()
    job = jobs.create("alice", JobSpec(file_ids=(1,), callback_url=callback_url)).job
    jobs.cancel(job.id)
    return next(
        entry
        for entry in state_log.read(count=100)
        if entry.job.id == job.id and entry.job.status is JobState.CANCELLED
    )


def entry(number: int, status: int | None = 500) -> DeliveryAttempt:
    return DeliveryAttempt(attempt=number, at=1_000, duration_ms=5, status=status)


def take_one(deliveries: WebhookDeliveries) -> WebhookDelivery:
    (taken,) = deliveries.claim(limit=10, lease=60)
    return taken


def test_a_terminal_state_told_twice_is_delivered_once(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    told = terminal(jobs, redis)
    deliveries.schedule([told, told])
    deliveries.schedule([told])
    delivery = take_one(deliveries)
    assert delivery.id == f"msg_{told.job.id}_{told.job.version}"
    assert delivery.job == told.job
    deliveries.record_attempt(delivery, "delivered", entry(1, 200))
    deliveries.schedule([told])
    assert deliveries.claim(limit=10, lease=60) == []


def test_a_taken_delivery_is_nobody_elses_until_its_lease_lapses(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    told = terminal(jobs, redis)
    deliveries.schedule([told])
    lost = take_one(deliveries)
    assert deliveries.claim(limit=10, lease=60) == []
    _fall_due(redis, told)
    again = take_one(deliveries)
    assert (again.id, again.attempt) == (lost.id, 1)
    assert not deliveries.record_attempt(lost, "delivered", entry(1, 200))
    assert deliveries.record_attempt(again, "delivered", entry(1, 200))


def test_a_failed_attempt_is_made_again_after_its_delay_under_the_same_id(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    told = terminal(jobs, redis)
    deliveries.schedule([told])
    first = take_one(deliveries)
    deliveries.record_attempt(first, "pending", entry(1), delay=3600)
    assert deliveries.claim(limit=10, lease=60) == []
    _fall_due(redis, told)
    second = take_one(deliveries)
    assert (second.id, second.attempt) == (first.id, 2)


def test_the_log_tells_every_attempt_and_when_the_next_one_is_due(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    told = terminal(jobs, redis)
    deliveries.schedule([told])
    deliveries.record_attempt(take_one(deliveries), "pending", entry(1), delay=3600)
    (record,) = deliveries.of_job(told.job.id)
    assert (record.state, record.job.status) == ("pending", JobState.CANCELLED)
    assert record.attempts == (entry(1),)
    assert record.next_at is not None
    assert record.next_at > time.time() * 1000 + 3_500_000
    _fall_due(redis, told)
    deliveries.record_attempt(take_one(deliveries), "gone", entry(2, 410))
    (record,) = deliveries.of_job(told.job.id)
    assert (record.state, record.next_at) == ("gone", None)
    assert [attempt.status for attempt in record.attempts] == [500, 410]
    assert deliveries.claim(limit=10, lease=60) == []


def test_each_terminal_state_of_a_job_has_its_own_delivery(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    state_log = StateLog(redis, "test", "reader")
    state_log.create_group()
    job_id = jobs.create("alice", JobSpec(file_ids=(1, 2), callback_url=URL)).job.id
    claim = jobs.claim(job_id, "worker")
    assert claim
    archive = Artifact(bucket="b", key="k", name="n", size=1, content_type="t", missing_files=1)
    jobs.complete(claim.lease, archive, Progress())
    jobs.restart(job_id)
    jobs.cancel(job_id)
    deliveries.schedule([told for told in state_log.read(count=100) if told.job.terminal])
    states = [record.job.status for record in deliveries.of_job(job_id)]
    assert states == [JobState.COMPLETED, JobState.CANCELLED]
    assert len({record.id for record in deliveries.of_job(job_id)}) == 2


def test_everything_kept_of_a_delivery_ends_some_day(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    deliveries.schedule([terminal(jobs, redis)])
    deliveries.record_attempt(take_one(deliveries), "failed", entry(10))
    kept = list(redis.scan_iter("webhook:*"))
    assert len(kept) == 3
    assert all(0 < redis.pttl(key) <= 4 * 86_400_000 for key in kept)


def _member(told: StateLogEntry) -> str:
    return f"{told.job.id}:{told.job.version}"


def _fall_due(redis: Redis, told: StateLogEntry) -> None:
    redis.zadd(keys.of_partition("webhooks_due", keys.tag_of_job(told.job.id)), {_member(told): 0})
