"""A job that was recorded in the history comes back as it was."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, cast

from common.history.rows import job_of, job_row
from common.jobs.model import Failure, JobSpec

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from common.job_store.jobs import JobStore
    from common.jobs.model import Job

#: Members that only matter while a job runs, or that only the store knows.
NOT_RECORDED: Final = {
    "email": None,
    "postponed_since": None,
    "restarted_at": None,
    "retry_at": None,
    "seconds_remaining": None,
    "turn": None,
}


def recorded(job: Job) -> Job:
    return job_of(cast("RowMapping", job_row(job)))


def test_a_job_is_the_same_after_it_was_recorded(jobs: JobStore) -> None:
    queued = jobs.create("alice", JobSpec(file_ids=(1,), metadata={"n": [1]})).job
    claim = jobs.claim(queued.id, "worker")
    assert claim is not None
    failed = jobs.fail(claim.lease, Failure(code="NETWORK_ERROR", message="m", retryable=True))
    for job in (queued, claim.job, failed, jobs.restart(queued.id)):
        assert recorded(job) == dataclasses.replace(job, **NOT_RECORDED)  # type: ignore[arg-type]
