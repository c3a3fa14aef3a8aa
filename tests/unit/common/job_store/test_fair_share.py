"""Whose job the workers are woken for: users take turns in each priority."""

from __future__ import annotations

from common.job_store.jobs import JobStore
from common.jobs.model import JobSpec, Priority
from tests.unit.conftest import RecordedWakeUps


def made(jobs: JobStore, user: str, number: int, priority: Priority = Priority.NORMAL) -> str:
    return jobs.create(user, JobSpec(file_ids=(number,), priority=priority)).job.id


def test_users_take_turns(jobs: JobStore, wake_ups: RecordedWakeUps) -> None:
    many = [made(jobs, "alice", number) for number in range(4)]
    one = made(jobs, "bob", 1)
    assert wake_ups.sent == [(many[0], "normal"), (one, "normal")]
    assert jobs.claim(many[0], "worker") is not None
    assert wake_ups.sent[-1] == (many[1], "normal")


def test_the_next_in_line_steps_forward_when_a_queued_job_is_cancelled(
    jobs: JobStore, wake_ups: RecordedWakeUps
) -> None:
    first, second, third = (made(jobs, "alice", number) for number in range(3))
    jobs.cancel(second)
    jobs.cancel(first)
    assert wake_ups.sent == [(first, "normal"), (third, "normal")]


def test_a_high_job_does_not_stand_in_line_behind_normal_ones(
    jobs: JobStore, wake_ups: RecordedWakeUps
) -> None:
    made(jobs, "alice", 1)
    urgent = made(jobs, "alice", 2, Priority.HIGH)
    assert (urgent, "high") in wake_ups.sent
