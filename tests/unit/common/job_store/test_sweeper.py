"""What a sweep repairs. Time passes by setting scores back, not by waiting."""

from __future__ import annotations

import time

import pytest
import structlog
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.errors import RunsAlone
from common.job_store import keys
from common.job_store import sweeper as sweeper_module
from common.job_store.deliveries import Deliveries, DeliveryAttempt
from common.job_store.jobs import JobStore, Limits
from common.job_store.queries import JobQueries
from common.job_store.state_log import StateLog
from common.job_store.sweeper import Sweeper
from common.jobs.model import PRIORITIES, Artifact, Failure, JobSpec, Priority, Progress, WakeUp
from common.jobs.transitions import JobState
from tests.unit.common.job_store.test_deliveries import terminal
from tests.unit.conftest import RecordedWakeUps


def busy() -> dict[str, int]:
    return dict.fromkeys(PRIORITIES, 7)


def empty() -> dict[str, int]:
    return dict.fromkeys(PRIORITIES, 0)


@pytest.fixture
def limits() -> Limits:
    return Limits(max_attempts=2)


def queued(jobs: JobStore, user: str = "alice", priority: Priority = Priority.NORMAL) -> str:
    return jobs.create(user, JobSpec(file_ids=(1,), priority=priority)).job.id


def long_ago(redis: Redis, name: str, job_id: str, priority: str = "") -> None:
    """Set the job's time in one of the partition's sorted sets to the distant past."""
    key = keys.of_partition(name, keys.tag_of_job(job_id), priority)
    assert redis.zadd(key, {job_id: 1}, xx=True, ch=True) == 1


def last_extended(redis: Redis, job_id: str, *, ago: float) -> None:
    """Let the job's last heartbeat be so many seconds old."""
    leases = keys.of_partition("leases", keys.tag_of_job(job_id))
    redis.zadd(leases, {job_id: (time.time() + Limits().lease - ago) * 1000}, xx=True)


def with_expired_lease(jobs: JobStore, redis: Redis) -> str:
    """Return a job that a worker has claimed and seems to have lost."""
    job_id = queued(jobs)
    jobs.claim(job_id, "worker")
    long_ago(redis, "leases", job_id)
    return job_id


def test_a_job_whose_lease_expired_is_requeued(
    jobs: JobStore,
    sweeper: Sweeper,
    queries: JobQueries,
    wake_ups: RecordedWakeUps,
    redis: Redis,
) -> None:
    job_id = queued(jobs)
    jobs.claim(job_id, "worker")
    assert sweeper.sweep(busy).recovered == 0
    long_ago(redis, "leases", job_id)
    assert sweeper.sweep(busy).recovered == 1
    job = queries.get(job_id)
    assert (job.status, job.attempt) == (JobState.QUEUED, 1)
    assert job.failure is not None
    assert job.failure.code == "WORKER_LOST"
    assert wake_ups.sent[-1] == (job_id, "normal")


def test_a_job_that_was_lost_twice_runs_later_and_alone(
    redis: Redis, wake_ups: RecordedWakeUps, queries: JobQueries
) -> None:
    limits = Limits(max_attempts=4)
    jobs = JobStore(redis, wake_ups, limits)
    sweeper = Sweeper(redis, wake_ups, limits, max_wait=300)
    job_id = queued(jobs)
    for _ in range(2):
        assert jobs.claim(job_id, "worker", wake_ups.wake_ups[-1])
        long_ago(redis, "leases", job_id)
        assert sweeper.sweep(busy).recovered == 1
    job = queries.get(job_id)
    assert job.retry_at is not None
    assert job.retry_at > job.updated_at
    long_ago(redis, "retries", job_id)
    assert sweeper.sweep(busy).promoted == 1
    wake_up = wake_ups.wake_ups[-1]
    with pytest.raises(RunsAlone):
        jobs.claim(job_id, "worker", wake_up)
    # Reserved for the worker that asked first.
    assert jobs.claim(job_id, "other", wake_up) is None
    assert jobs.claim(job_id, "worker", alone=True)
    assert redis.zcard(keys.of_partition("retries", keys.tag_of_job(job_id))) == 0


def test_reservations_of_a_job_are_counted_until_it_runs(
    redis: Redis, jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps
) -> None:
    def reservations(wake_up: WakeUp | None) -> int:
        with pytest.raises(RunsAlone) as rejected:
            jobs.claim(job_id, "worker", wake_up)
        return rejected.value.reservations

    job_id = queued(jobs)
    redis.hset(keys.status(job_id), "losses", 2)
    for number in (1, 2):
        assert reservations(wake_ups.wake_ups[-1]) == number
        assert reservations(None) == number  # The worker renews it.
        long_ago(redis, "retries", job_id)
        sweeper.sweep(busy)
    claim = jobs.claim(job_id, "worker", wake_ups.wake_ups[-1], alone=True)
    assert claim is not None
    jobs.return_to_queue(claim.lease)
    assert reservations(wake_ups.wake_ups[-1]) == 1


def test_a_reservation_for_a_worker_that_dies_ends_by_itself(
    redis: Redis, jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps
) -> None:
    job_id = queued(jobs)
    redis.hset(keys.status(job_id), "losses", 2)
    with pytest.raises(RunsAlone):
        jobs.claim(job_id, "worker", wake_ups.wake_ups[-1])
    assert sweeper.sweep(busy).promoted == 0
    long_ago(redis, "retries", job_id)
    assert sweeper.sweep(busy).promoted == 1
    assert wake_ups.sent[-1] == (job_id, "normal")


def test_a_job_whose_release_was_aborted_half_way_is_queued_again(
    jobs: JobStore,
    sweeper: Sweeper,
    queries: JobQueries,
    wake_ups: RecordedWakeUps,
    redis: Redis,
) -> None:
    job_id = queued(jobs)
    jobs.claim(job_id, "worker")
    redis.hset(keys.status(job_id), "status", "queued")
    long_ago(redis, "leases", job_id)
    sweeper.sweep(busy)
    assert wake_ups.sent[-1] == (job_id, "normal")
    assert len(wake_ups.sent) == 2
    assert jobs.claim(job_id, "worker")


def test_jobs_of_a_dead_worker_are_requeued_before_their_leases_expire(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    for user, worker in (("alice", "dead"), ("bob", "alive")):
        job_id = queued(jobs, user=user)
        jobs.claim(job_id, worker)
        last_extended(redis, job_id, ago=2.0)
    assert sweeper.sweep(busy, dead=["dead"]).recovered == 1


def test_a_worker_that_extends_its_leases_is_not_dead(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    job_id = queued(jobs)
    jobs.claim(job_id, "worker")
    last_extended(redis, job_id, ago=1.0)
    assert sweeper.sweep(busy, dead=["worker"]).recovered == 0


def test_a_worker_with_rare_heartbeats_is_not_dead_between_two_of_them(
    jobs: JobStore, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    sweeper = Sweeper(redis, wake_ups, Limits(), max_wait=300, heartbeat=3.0)
    job_id = queued(jobs)
    jobs.claim(job_id, "worker")
    last_extended(redis, job_id, ago=4.0)
    assert sweeper.sweep(busy, dead=["worker"]).recovered == 0
    last_extended(redis, job_id, ago=7.0)
    assert sweeper.sweep(busy, dead=["worker"]).recovered == 1


def test_leases_count_as_live_after_the_store_was_unavailable(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    with_expired_lease(jobs, redis)
    assert sweeper.sweep(busy, dead=["worker"], reclaim_until=0.0).recovered == 0


def test_leases_count_as_live_if_the_store_stalls_or_its_clock_jumps_before_the_sweep(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    with_expired_lease(jobs, redis)
    seconds, _ = redis.time()
    late = seconds - 1.0
    assert sweeper.sweep(busy, dead=["worker"], reclaim_until=late).recovered == 0
    assert sweeper.sweep(busy, reclaim_until=seconds + 5.0).recovered == 1


def test_a_lease_that_the_last_sweep_must_have_seen_expire_is_of_a_wrong_clock(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    job_id = with_expired_lease(jobs, redis)
    assert sweeper.sweep(busy, max_gap=60.0).recovered == 0
    leases = keys.of_partition("leases", keys.tag_of_job(job_id))
    assert (redis.zscore(leases, job_id) or 0) > time.time() * 1000
    redis.zadd(leases, {job_id: time.time() * 1000 - 500})
    assert sweeper.sweep(busy, max_gap=60.0).recovered == 1


def test_a_job_that_kills_every_worker_becomes_a_dead_letter(
    jobs: JobStore, sweeper: Sweeper, queries: JobQueries, redis: Redis
) -> None:
    job_id = queued(jobs)
    for _ in range(2):
        assert jobs.claim(job_id, "worker")
        long_ago(redis, "leases", job_id)
        sweeper.sweep(busy)
    assert queries.get(job_id).status is JobState.FAILED
    assert redis.zcard(keys.of_partition("dead_letters", keys.tag_of_job(job_id))) == 1
    assert redis.llen(keys.attempts(job_id)) == 2


def test_an_archive_expires_after_its_ttl(
    jobs: JobStore, sweeper: Sweeper, queries: JobQueries, redis: Redis
) -> None:
    job_id = queued(jobs)
    claim = jobs.claim(job_id, "worker")
    assert claim
    archive = Artifact(bucket="b", key="k", name="n", size=1, content_type="t")
    jobs.complete(claim.lease, archive, Progress())
    assert sweeper.sweep(busy).expired == 0
    long_ago(redis, "expiring", job_id)
    assert sweeper.sweep(busy).expired == 1
    assert queries.get(job_id).status is JobState.EXPIRED
    assert sweeper.sweep(busy).expired == 0


def test_wake_ups_of_jobs_that_just_wait_are_not_resent(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    for number in range(50):
        long_ago(redis, "wake_ups_sent", queued(jobs, user=f"user-{number}"), "normal")
    assert sweeper.sweep(busy).resent == 0
    assert len(wake_ups.sent) == 50


def test_every_outstanding_wake_up_is_lost_when_the_queue_is_empty(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    job_id = queued(jobs)
    assert sweeper.sweep(empty).resent == 0
    long_ago(redis, "wake_ups_sent", job_id, "normal")
    assert sweeper.sweep(empty).resent == 1
    assert wake_ups.sent == [(job_id, "normal")] * 2
    assert sweeper.sweep(empty).resent == 0


def test_a_wake_up_that_a_dead_worker_read_is_resent_sooner(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    job_id = queued(jobs)
    wake_ups_sent = keys.of_partition("wake_ups_sent", keys.tag_of_job(job_id), "normal")
    redis.zincrby(wake_ups_sent, -2_000, job_id)
    assert sweeper.sweep(empty).resent == 0
    assert sweeper.sweep(empty, dead=["worker"]).resent == 1
    assert sweeper.sweep(empty, dead=["worker"]).resent == 0


def test_an_overtaken_wake_up_is_lost_even_while_the_queue_is_busy(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    lost = queued(jobs, user="alice")
    long_ago(redis, "wake_ups_sent", lost, "normal")
    later = queued(jobs, user="bob")
    jobs.claim(later, "worker", wake_ups.wake_ups[-1])
    sweeper.sweep(busy)
    assert sweeper.sweep(busy).resent == 1
    assert wake_ups.sent[-1] == (lost, "normal")


def test_a_late_first_wake_up_does_not_make_those_behind_the_second_count_as_lost(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    slow = queued(jobs, user="alice")
    long_ago(redis, "wake_ups_sent", slow, "normal")
    first = WakeUp(job_id=slow, priority="normal", sent=1)
    # Its worker stopped before the claim, so the wake-up was sent again, behind all others.
    for number in range(20):
        long_ago(redis, "wake_ups_sent", queued(jobs, user=f"user-{number}"), "normal")
    redis.zadd(keys.of_partition("wake_ups_sent", keys.tag_of_job(slow), "normal"), {slow: 10**15})
    assert jobs.claim(slow, "worker", first)
    sweeper.sweep(busy)
    assert sweeper.sweep(busy).resent == 0


def test_a_delayed_sweep_treats_a_queue_as_empty_only_until_it_was_counted(
    jobs: JobStore, sweeper: Sweeper, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "LOST_AFTER", 0)

    def empty_until_just_now() -> dict[str, int]:
        time.sleep(0.01)
        for number in range(20):
            queued(jobs, user=f"user-{number}")
        return empty()

    assert sweeper.sweep(empty_until_just_now).resent == 0


def test_a_retry_of_a_job_that_moved_to_a_higher_priority_leaves_nothing_in_the_old_one(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    job_id = queued(jobs, priority=Priority.LOW)
    long_ago(redis, "waiting", job_id, "low")
    sweeper.sweep(busy)
    claim = jobs.claim(job_id, "worker")
    assert claim
    jobs.retry_later(claim.lease, Failure(code="NETWORK_ERROR", message="", retryable=True), 60)
    long_ago(redis, "retries", job_id)
    assert sweeper.sweep(busy).promoted == 1
    assert jobs.claim(job_id, "worker")
    assert redis.keys("jobs:waiting:*") == redis.keys("jobs:wake_ups_sent:*") == []
    # If the job were still in the user's queue, no other low job of that user would ever start.
    assert redis.keys("user:turn:*") == []


def test_a_job_that_waited_too_long_moves_to_the_next_higher_priority(
    jobs: JobStore,
    sweeper: Sweeper,
    redis: Redis,
    wake_ups: RecordedWakeUps,
    queries: JobQueries,
) -> None:
    job_id = queued(jobs, priority=Priority.LOW)
    long_ago(redis, "waiting", job_id, "low")
    sweeper.sweep(busy)
    assert wake_ups.sent == [(job_id, "low"), (job_id, "normal")]
    assert queries.get(job_id).priority is Priority.LOW
    assert jobs.claim(job_id, "worker")
    assert redis.keys("jobs:waiting:*") == redis.keys("jobs:wake_ups_sent:*") == []


def test_a_wake_up_from_the_future_is_not_resent_endlessly(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    tomorrow = round(time.time() * 1000) + 86_400_000
    job_id = queued(jobs)
    tag = keys.tag_of_job(job_id)
    # The clock was a day ahead when another job was claimed.
    claimed = queued(jobs, user="bob")
    jobs.claim(claimed, "worker", WakeUp(job_id=claimed, priority="normal", sent=tomorrow))
    redis.hset(keys.of_partition("read_up_to", tag), "normal", tomorrow)
    long_ago(redis, "wake_ups_sent", job_id, "normal")
    assert [sweeper.sweep(busy).resent for _ in range(4)] == [0] * 4
    assert sweeper.sweep(empty).resent == 1
    assert [sweeper.sweep(empty).resent for _ in range(3)] == [0] * 3


def test_times_from_before_the_clock_was_set_back_are_corrected(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    tomorrow = time.time() * 1000 + 86_400_000
    claimed, waiting = queued(jobs), queued(jobs, user="bob")
    jobs.claim(claimed, "worker")
    leases = keys.of_partition("leases", keys.tag_of_job(claimed))
    wake_ups_sent = keys.of_partition("wake_ups_sent", keys.tag_of_job(waiting), "normal")
    redis.zadd(leases, {claimed: tomorrow})
    redis.zadd(wake_ups_sent, {waiting: tomorrow})
    sweeper.sweep(busy)
    for key, member in ((leases, claimed), (wake_ups_sent, waiting)):
        score = redis.zscore(key, member)
        assert score is not None
        assert abs(score - time.time() * 1000) < 15_000


def waiting_for_retry(jobs: JobStore) -> str:
    """Return a job that runs again in 30 s."""
    job_id = queued(jobs)
    claim = jobs.claim(job_id, "worker")
    assert claim is not None
    failure = Failure(code="NETWORK_ERROR", message="Connection lost.", retryable=True)
    jobs.retry_later(claim.lease, failure, delay=30.0)
    return job_id


def test_retries_are_not_late_after_the_clock_was_set_back(
    jobs: JobStore, sweeper: Sweeper, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = waiting_for_retry(jobs)
    sweeper.sweep(busy)
    right_time = time.time
    monkeypatch.setattr(time, "time", lambda: right_time() - 86_400)
    sweeper.sweep(busy)
    sweeper.sweep(busy)
    due = redis.zscore(keys.of_partition("retries", keys.tag_of_job(job_id)), job_id)
    assert isinstance(due, float)
    assert 20_000 < due - time.time() * 1000 <= 35_000


def test_a_waiting_webhook_is_sent_again_after_the_clock_was_set_back(
    jobs: JobStore, sweeper: Sweeper, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries = Deliveries(redis)
    change = terminal(jobs, redis)
    deliveries.schedule([change])
    (delivery,) = deliveries.claim(limit=1, lease=60)
    attempt = DeliveryAttempt(attempt=1, at=0, duration_ms=1, status=500)
    deliveries.record_attempt(delivery, "pending", attempt, delay=3_600)
    sweeper.sweep(busy)
    right_time = time.time
    monkeypatch.setattr(time, "time", lambda: right_time() - 86_400)
    sweeper.sweep(busy)
    (record,) = deliveries.of_job(change.job.id)
    assert record.next_at is not None
    assert 3_590_000 < record.next_at - time.time() * 1000 <= 3_605_000
    deliveries.replay(change.job.id, change.job.version)
    (again,) = deliveries.claim(limit=1, lease=60)
    assert again.attempt == 2


def test_times_are_corrected_only_once_after_the_clock_was_set_back_a_little(
    jobs: JobStore, sweeper: Sweeper, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = waiting_for_retry(jobs)
    sweeper.sweep(busy)
    right_time = time.time
    # Less than the interval between two notes of the time.
    monkeypatch.setattr(time, "time", lambda: right_time() - 4)
    for _ in range(4):
        sweeper.sweep(busy)
    due = redis.zscore(keys.of_partition("retries", keys.tag_of_job(job_id)), job_id)
    assert isinstance(due, float)
    assert 25_000 < due - time.time() * 1000 <= 31_000


@pytest.mark.parametrize("seconds", [86_400, 4])
def test_archives_completed_since_the_clock_was_set_back_do_not_expire_early(
    jobs: JobStore,
    sweeper: Sweeper,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
) -> None:
    sweeper.sweep(busy)
    right_time = time.time
    monkeypatch.setattr(time, "time", lambda: right_time() - seconds)
    # Before a sweep notices it.
    claim = jobs.claim(queued(jobs), "worker")
    assert claim is not None
    artifact = Artifact(bucket="b", key="k", name="n.zip", size=1, content_type="application/zip")
    job = jobs.complete(claim.lease, artifact, Progress())
    for _ in range(2):
        sweeper.sweep(busy)
    expires = redis.zscore(keys.of_partition("expiring", keys.tag_of_job(job.id)), job.id)
    assert isinstance(expires, float)
    assert job.expires_at is not None
    assert abs(expires - job.expires_at) < 1_500


def test_state_log_entries_are_taken_over_after_the_clock_was_set_back(
    jobs: JobStore, sweeper: Sweeper, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = StateLog(redis, "webhooks", "dead")
    dead.create_group()
    queued(jobs)
    assert len(dead.read(count=10)) == 1
    sweeper.sweep(busy)
    right_time = time.time
    monkeypatch.setattr(time, "time", lambda: right_time() - 3_600)
    sweeper.sweep(busy)
    alive = StateLog(redis, "webhooks", "alive")
    assert alive.claim_idle(idle_ms=30_000, count=10) == []
    monkeypatch.setattr(time, "time", lambda: right_time() - 3_600 + 31)
    assert len(alive.claim_idle(idle_ms=30_000, count=10)) == 1


def jobs_in_two_partitions(jobs: JobStore) -> tuple[str, str]:
    """Return a job, and one of a user in another partition."""
    first = queued(jobs)
    others = (queued(jobs, user=f"user-{number}") for number in range(100))
    return first, next(
        other for other in others if keys.tag_of_job(other) != keys.tag_of_job(first)
    )


def test_an_error_in_one_partition_does_not_affect_the_others(
    jobs: JobStore, sweeper: Sweeper, redis: Redis
) -> None:
    damaged, healthy = jobs_in_two_partitions(jobs)
    jobs.claim(healthy, "worker")
    long_ago(redis, "leases", healthy)
    retries = keys.of_partition("retries", keys.tag_of_job(damaged))
    redis.set(retries, "not a sorted set")
    with structlog.testing.capture_logs() as logs:
        assert sweeper.sweep(busy).recovered == 1
    assert [(entry["event"], entry["partition"]) for entry in logs] == [
        ("partition not swept", keys.tag_of_job(damaged))
    ]


def test_a_partition_that_is_unavailable_is_reported_after_the_others_were_swept(
    jobs: JobStore,
    sweeper: Sweeper,
    queries: JobQueries,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, healthy = jobs_in_two_partitions(jobs)
    jobs.claim(healthy, "worker")
    long_ago(redis, "leases", healthy)
    run = sweeper._scripts.run_in_partitions
    unavailable = next(tag for tag in keys.all_tags() if tag != keys.tag_of_job(healthy))
    monkeypatch.setattr(
        sweeper._scripts,
        "run_in_partitions",
        lambda *args: {**run(*args), unavailable: RedisConnectionError("gone")},
    )
    with pytest.raises(RedisConnectionError):
        sweeper.sweep(busy)
    assert queries.get(healthy).status is JobState.QUEUED
