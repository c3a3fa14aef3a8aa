"""Deliveries of webhooks: one for each terminal state, leased, never lost, with all attempts."""

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
    """Return the state log's entry of a job that was just cancelled."""
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


def claim_one(deliveries: WebhookDeliveries) -> WebhookDelivery:
    (claimed,) = deliveries.claim(limit=10, lease=60)
    return claimed


def test_a_state_that_is_scheduled_twice_is_delivered_once(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled, scheduled])
    deliveries.schedule([scheduled])
    delivery = claim_one(deliveries)
    assert delivery.id == f"msg_{scheduled.job.id}_{scheduled.job.version}"
    assert delivery.job == scheduled.job
    deliveries.record_attempt(delivery, "delivered", entry(1, 200))
    deliveries.schedule([scheduled])
    assert deliveries.claim(limit=10, lease=60) == []


def test_a_claimed_delivery_is_not_claimed_again_until_its_lease_lapses(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    lost = claim_one(deliveries)
    assert deliveries.claim(limit=10, lease=60) == []
    _make_due(redis, scheduled)
    again = claim_one(deliveries)
    assert (again.id, again.attempt) == (lost.id, 1)
    assert not deliveries.record_attempt(lost, "delivered", entry(1, 200))
    assert deliveries.record_attempt(again, "delivered", entry(1, 200))


def test_a_failed_attempt_is_retried_after_its_delay_with_the_same_id(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    first = claim_one(deliveries)
    deliveries.record_attempt(first, "pending", entry(1), delay=3600)
    assert deliveries.claim(limit=10, lease=60) == []
    _make_due(redis, scheduled)
    second = claim_one(deliveries)
    assert (second.id, second.attempt) == (first.id, 2)


def test_a_delivery_lists_every_attempt_and_when_the_next_one_is_due(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    deliveries.record_attempt(claim_one(deliveries), "pending", entry(1), delay=3600)
    (record,) = deliveries.of_job(scheduled.job.id)
    assert (record.state, record.job.status) == ("pending", JobState.CANCELLED)
    assert record.attempts == (entry(1),)
    assert record.next_at is not None
    assert record.next_at > time.time() * 1000 + 3_500_000
    _make_due(redis, scheduled)
    deliveries.record_attempt(claim_one(deliveries), "gone", entry(2, 410))
    (record,) = deliveries.of_job(scheduled.job.id)
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
    deliveries.schedule([entry for entry in state_log.read(count=100) if entry.job.terminal])
    states = [record.job.status for record in deliveries.of_job(job_id)]
    assert states == [JobState.COMPLETED, JobState.CANCELLED]
    assert len({record.id for record in deliveries.of_job(job_id)}) == 2


def test_all_keys_of_a_delivery_expire(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    deliveries.schedule([terminal(jobs, redis)])
    deliveries.record_attempt(claim_one(deliveries), "failed", entry(10))
    kept = list(redis.scan_iter("webhook:*"))
    assert len(kept) == 3
    assert all(0 < redis.pttl(key) <= 4 * 86_400_000 for key in kept)


def _member(scheduled: StateLogEntry) -> str:
    return f"{scheduled.job.id}:{scheduled.job.version}"


def _make_due(redis: Redis, scheduled: StateLogEntry) -> None:
    due = keys.of_partition("webhooks_due", keys.tag_of_job(scheduled.job.id))
    redis.zadd(due, {_member(scheduled): 0})


def test_a_long_retry_after_does_not_outlive_the_delivery(
    jobs: JobStore, redis: Redis, deliveries: WebhookDeliveries
) -> None:
    change = terminal(jobs, redis)
    deliveries.schedule([change])
    delivery = claim_one(deliveries)
    week = 7 * 86_400.0
    assert deliveries.record_attempt(delivery, "pending", entry(1), delay=week)
    version = delivery.job.version
    for key in (
        keys.delivery(delivery.job.id, version),
        keys.delivery_log(delivery.job.id, version),
        keys.deliveries(delivery.job.id),
    ):
        assert redis.ttl(key) > week + 86_400
