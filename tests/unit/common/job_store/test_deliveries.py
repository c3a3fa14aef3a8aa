"""Deliveries of webhooks: one for each terminal state, leased, never lost, with all attempts."""

from __future__ import annotations

import time

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from common.errors import DeliveryNotFound
from common.job_store import keys
from common.job_store.deliveries import (
    MAX_ATTEMPTS,
    Deliveries,
    Delivery,
    DeliveryAttempt,
    Exchange,
)
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog, StateLogEntry
from common.jobs.model import Artifact, JobSpec, Progress
from common.jobs.transitions import JobState

URL = "https://example.com/hook"


@pytest.fixture
def deliveries(redis: Redis) -> Deliveries:
    return Deliveries(redis)


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


def claim_one(deliveries: Deliveries) -> Delivery:
    (claimed,) = deliveries.claim(limit=10, lease=60)
    return claimed


def test_a_state_that_is_scheduled_twice_is_delivered_once(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
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


def test_a_claimed_delivery_is_not_claimed_again_until_its_lease_expires(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
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
    jobs: JobStore, redis: Redis, deliveries: Deliveries
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
    jobs: JobStore, redis: Redis, deliveries: Deliveries
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
    jobs: JobStore, redis: Redis, deliveries: Deliveries
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
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    deliveries.schedule([terminal(jobs, redis)])
    deliveries.record_attempt(claim_one(deliveries), "failed", entry(10))
    kept = list(redis.scan_iter("webhook:*"))
    assert len(kept) == 4
    assert all(0 < redis.pttl(key) <= 4 * 86_400_000 for key in kept)


def _member(scheduled: StateLogEntry) -> str:
    return f"{scheduled.job.id}:{scheduled.job.version}"


def _make_due(redis: Redis, scheduled: StateLogEntry) -> None:
    due = keys.of_partition("deliveries_due", keys.tag_of_job(scheduled.job.id))
    redis.zadd(due, {_member(scheduled): 0})


def test_a_long_retry_after_does_not_outlive_the_delivery(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    change = terminal(jobs, redis)
    deliveries.schedule([change])
    delivery = claim_one(deliveries)
    week = 7 * 86_400.0
    assert deliveries.record_attempt(delivery, "pending", entry(1), delay=week)
    version = delivery.job.version
    for key in (
        keys.delivery(delivery.job.id, version),
        keys.delivery(delivery.job.id, version, name="delivery_log"),
        keys.deliveries(delivery.job.id),
    ):
        assert redis.ttl(key) > week + 86_400


def delivered(jobs: JobStore, redis: Redis, deliveries: Deliveries) -> StateLogEntry:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    deliveries.record_attempt(claim_one(deliveries), "delivered", entry(1, 200))
    return scheduled


def test_a_replayed_delivery_is_due_again_and_continues_to_count_its_attempts(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    scheduled = delivered(jobs, redis, deliveries)
    deliveries.replay(scheduled.job.id, scheduled.job.version)
    (record,) = deliveries.of_job(scheduled.job.id)
    assert record.state == "pending"
    delivery = claim_one(deliveries)
    # History identifies an attempt by its number.
    assert (delivery.attempt, delivery.replayed_after) == (2, 1)
    deliveries.record_attempt(delivery, "delivered", entry(2, 204))
    (record,) = deliveries.of_job(scheduled.job.id)
    assert [attempt.status for attempt in record.attempts] == [200, 204]
    assert deliveries.claim(limit=10, lease=60) == []


def test_a_waiting_delivery_is_replayed_at_once(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    deliveries.record_attempt(claim_one(deliveries), "pending", entry(1), delay=3600)
    deliveries.replay(scheduled.job.id, scheduled.job.version)
    assert claim_one(deliveries).attempt == 2


def test_a_replay_leaves_an_attempt_in_progress_alone(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    first = claim_one(deliveries)
    deliveries.replay(scheduled.job.id, scheduled.job.version)
    assert deliveries.claim(limit=10, lease=60) == []
    assert deliveries.record_attempt(first, "delivered", entry(1, 200))
    deliveries.replay(scheduled.job.id, scheduled.job.version)
    claim_one(deliveries)
    deliveries.replay(scheduled.job.id, scheduled.job.version)
    assert deliveries.claim(limit=10, lease=60) == []


def test_a_replay_that_is_requested_during_the_last_attempt_is_not_lost(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    deliveries.record_attempt(claim_one(deliveries), "pending", entry(1))
    last = claim_one(deliveries)
    deliveries.replay(scheduled.job.id, scheduled.job.version)
    assert deliveries.record_attempt(last, "failed", entry(2), replay_delay=5)
    (record,) = deliveries.of_job(scheduled.job.id)
    assert record.state == "pending"
    assert record.next_at is not None
    assert 0 < record.next_at - time.time() * 1000 <= 5_000
    _make_due(redis, scheduled)
    again = claim_one(deliveries)
    assert (again.attempt, again.replayed_after) == (3, 1)
    # Without another replay, a failure is final.
    assert deliveries.record_attempt(again, "failed", entry(3), replay_delay=5)
    (record,) = deliveries.of_job(scheduled.job.id)
    assert (record.state, record.next_at) == ("failed", None)
    assert deliveries.claim(limit=10, lease=60) == []


def test_a_replay_that_is_requested_during_an_attempt_starts_the_pauses_again(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    deliveries.record_attempt(claim_one(deliveries), "pending", entry(1))
    late = claim_one(deliveries)
    deliveries.replay(scheduled.job.id, scheduled.job.version)
    assert deliveries.record_attempt(late, "pending", entry(2), delay=86_400, replay_delay=5)
    (record,) = deliveries.of_job(scheduled.job.id)
    assert record.next_at is not None
    assert 0 < record.next_at - time.time() * 1000 <= 5_000


def test_an_unknown_delivery_is_not_replayed(deliveries: Deliveries) -> None:
    with pytest.raises(DeliveryNotFound):
        deliveries.replay("00000000-0000-4000-8000-000000000000", 2)


def test_deliveries_since_a_time_are_replayed_in_steps(
    jobs: JobStore, redis: Redis, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.job_store.deliveries.MAX_REPLAYED", 2)
    states = [delivered(jobs, redis, deliveries) for _ in range(4)]
    listed = keys.user_deliveries("alice")
    # Known times: the clock may stand still between two of them.
    for number, scheduled in enumerate(states):
        redis.zadd(listed, {_member(scheduled): 1_000 + number})
    assert deliveries.replay_since("alice", 1_001) == (2, 1_003)
    assert deliveries.replay_since("alice", 1_003) == (1, None)
    due = {delivery.job.id for delivery in deliveries.claim(limit=10, lease=60)}
    assert due == {scheduled.job.id for scheduled in states[1:]}
    assert deliveries.replay_since("bob", 0) == (0, None)


def test_only_deliveries_in_a_state_are_replayed(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    delivered(jobs, redis, deliveries)
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    deliveries.record_attempt(claim_one(deliveries), "failed", entry(1))
    assert deliveries.replay_since("alice", 0, state="failed") == (1, None)
    assert claim_one(deliveries).job.id == scheduled.job.id


def test_the_list_of_a_users_deliveries_is_bounded(
    jobs: JobStore, redis: Redis, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.job_store.deliveries.MAX_LISTED", 3)
    states = [terminal(jobs, redis) for _ in range(5)]
    deliveries.schedule(states)
    kept = redis.zrange(keys.user_deliveries("alice"), 0, -1)
    assert len(kept) == 3
    redis.zadd(keys.user_deliveries("alice"), {"old:1": 1})
    deliveries.schedule([terminal(jobs, redis)])
    assert "old:1" not in redis.zrange(keys.user_deliveries("alice"), 0, -1)


def test_attempts_and_exchanges_are_bounded(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    for number in range(1, MAX_ATTEMPTS + 3):
        exchange = Exchange(attempt=number, url="https://example.com", request_headers={})
        deliveries.record_attempt(
            claim_one(deliveries), "delivered", entry(number, 200), exchange=exchange
        )
        deliveries.replay(scheduled.job.id, scheduled.job.version)
    (record,) = deliveries.of_job(scheduled.job.id)
    assert [each.attempt for each in record.attempts] == list(range(3, MAX_ATTEMPTS + 3))
    assert list(record.exchanges) == [MAX_ATTEMPTS, MAX_ATTEMPTS + 1, MAX_ATTEMPTS + 2]


def test_emails_and_webhooks_of_a_job_are_delivered_separately(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    emails = Deliveries(redis, "email")
    scheduled = terminal(jobs, redis)
    emails.schedule([scheduled])
    assert deliveries.claim(limit=10, lease=60) == []
    delivery = claim_one(emails)
    before = redis.xlen(keys.of_partition("state_log", keys.tag_of_job(scheduled.job.id)))
    assert emails.record_attempt(delivery, "delivered", entry(1, 250))
    # History has a table for webhooks only.
    after = redis.xlen(keys.of_partition("state_log", keys.tag_of_job(scheduled.job.id)))
    assert after == before
    assert [record.state for record in emails.of_job(scheduled.job.id)] == ["delivered"]
    assert deliveries.of_job(scheduled.job.id) == []


def test_deliveries_are_claimed_although_one_partition_has_an_error(
    jobs: JobStore, redis: Redis, deliveries: Deliveries
) -> None:
    scheduled = terminal(jobs, redis)
    deliveries.schedule([scheduled])
    healthy = keys.tag_of_job(scheduled.job.id)
    damaged = next(tag for tag in keys.all_tags() if tag != healthy)
    redis.set(keys.of_partition("deliveries_due", damaged), "not a sorted set")
    assert claim_one(deliveries).job.id == scheduled.job.id


def test_an_error_in_every_partition_is_raised(redis: Redis, deliveries: Deliveries) -> None:
    for tag in keys.all_tags():
        redis.set(keys.of_partition("deliveries_due", tag), "not a sorted set")
    with pytest.raises(ResponseError):
        deliveries.claim(limit=10, lease=60)
