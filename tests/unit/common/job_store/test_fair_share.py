"""Fair sharing: only the first queued job of a user and priority has a wake-up."""

from __future__ import annotations

from redis import Redis

from common.job_store import keys
from common.job_store.jobs import CreationTerms, JobStore
from common.job_store.sweeper import Sweeper
from common.jobs.model import Artifact, JobSpec, Priority, Progress
from tests.unit.conftest import RecordedWakeUps

ARCHIVE = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")


def made(jobs: JobStore, user: str, number: int, priority: Priority = Priority.NORMAL) -> str:
    return jobs.create(user, JobSpec(file_ids=(number,), priority=priority)).job.id


def test_users_get_fair_shares(jobs: JobStore, wake_ups: RecordedWakeUps) -> None:
    many = [made(jobs, "alice", number) for number in range(4)]
    one = made(jobs, "bob", 1)
    assert wake_ups.sent == [(many[0], "normal"), (one, "normal")]
    assert jobs.claim(many[0], "worker") is not None
    assert wake_ups.sent[-1] == (many[1], "normal")


def test_cancelling_a_queued_job_wakes_the_users_next_one(
    jobs: JobStore, wake_ups: RecordedWakeUps
) -> None:
    first, second, third = (made(jobs, "alice", number) for number in range(3))
    jobs.cancel(second)
    jobs.cancel(first)
    assert wake_ups.sent == [(first, "normal"), (third, "normal")]


def test_a_high_priority_job_does_not_wait_behind_normal_ones_of_the_same_user(
    jobs: JobStore, wake_ups: RecordedWakeUps
) -> None:
    made(jobs, "alice", 1)
    urgent = made(jobs, "alice", 2, Priority.HIGH)
    assert (urgent, "high") in wake_ups.sent


def weighted(jobs: JobStore, user: str, number: int, weight: int) -> str:
    terms = CreationTerms(plan="pro", max_active=100, weight=weight)
    return jobs.create(user, JobSpec(file_ids=(number,)), terms=terms).job.id


def test_a_user_with_a_weight_has_as_many_turns(
    jobs: JobStore, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    for number in range(30):
        weighted(jobs, "alice", number, 3)
    for number in range(30):
        weighted(jobs, "bob", number, 1)
    started = [0, 0]
    for _ in range(20):
        job_id, _ = wake_ups.sent[sum(started)]
        claim = jobs.claim(job_id, "worker")
        assert claim is not None
        started[claim.job.user == "bob"] += 1
    assert started == [15, 5]


def test_all_jobs_of_a_user_with_a_weight_are_woken_up_once(
    jobs: JobStore, wake_ups: RecordedWakeUps, redis: Redis
) -> None:
    """Also if they are cancelled, returned and restarted, and if the weight changes."""
    ids = {weighted(jobs, "alice", number, 1 + number % 4) for number in range(12)}
    cancelled = sorted(ids)[::5]
    for job_id in cancelled:
        jobs.cancel(job_id)
    handled = 0
    returned: set[str] = set()
    completed: set[str] = set()
    while handled < len(wake_ups.sent):
        job_id = wake_ups.sent[handled][0]
        handled += 1
        claim = jobs.claim(job_id, "worker")
        if claim is None:
            assert job_id in cancelled
        elif job_id in returned:
            jobs.complete(claim.lease, ARCHIVE, Progress())
            completed.add(job_id)
        else:
            jobs.return_to_queue(claim.lease)
            returned.add(job_id)
    assert completed == ids - set(cancelled)
    assert redis.keys("user:line:*") == []
    assert redis.keys("jobs:waiting:*") == []


def test_a_boosted_job_keeps_its_queue(
    jobs: JobStore, wake_ups: RecordedWakeUps, redis: Redis, sweeper: Sweeper
) -> None:
    ids = [weighted(jobs, "alice", number, 2) for number in range(4)]
    name = keys.of_partition("waiting", keys.tag_of_job(ids[0]), "normal")
    redis.zadd(name, dict.fromkeys(ids, 1))
    sweeper.sweep(dict)
    lines = redis.keys("user:line:*")
    assert sorted(str(line).rpartition("}:")[2] for line in lines) == ["alice#2:high", "alice:high"]
    woken = [job_id for job_id, priority in wake_ups.sent if priority == "high"]
    assert {redis.hget(keys.status(job_id), "line") for job_id in woken} == {None, "alice#2"}
    assert len(woken) == 2
