"""Fair sharing: only the first queued job of a user and priority has a wake-up."""

from __future__ import annotations

from common.job_store.jobs import JobStore
from common.jobs.model import JobSpec, Priority
from tests.unit.conftest import RecordedWakeUps


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
