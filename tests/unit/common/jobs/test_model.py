"""A job is read whole from the store's strings."""

from __future__ import annotations

import dataclasses

import pytest

from common.job_store.jobs import JobStore
from common.jobs.model import Failure, Job, JobSpec, Progress
from common.jobs.transitions import JobState
from tests.unit.api.conftest import ARTIFACT

FAILURE = Failure(code="NETWORK_ERROR", message="It broke", retryable=True)


def in_every_state(jobs: JobStore) -> list[Job]:
    made = [
        jobs.create("ann", JobSpec(file_ids=(n,), metadata={"n": [n]})).job for n in range(1, 4)
    ]
    leases = [claim.lease for job in made if (claim := jobs.claim(job.id, "worker"))]
    progress = Progress(processed_files=1, total_bytes=9, processed_bytes=9, seconds_remaining=1.5)
    jobs.heartbeat(leases[0], {"progress": 40, "seconds_remaining": "2.5"})
    return [
        *made,
        jobs.complete(leases[0], ARTIFACT, progress),
        jobs.fail(leases[1], FAILURE),
        jobs.retry_later(leases[2], FAILURE, 9.0),
    ]


def test_from_fields_sets_exactly_the_members_of_the_dataclass(jobs: JobStore) -> None:
    for job in in_every_state(jobs):
        assert set(vars(job)) == {member.name for member in dataclasses.fields(Job)}
        assert Job(**vars(job)) == job


def test_from_fields_converts_members_to_their_types(jobs: JobStore) -> None:
    queued, *_, completed, failed, waiting = in_every_state(jobs)
    assert (queued.status, queued.metadata, queued.artifact) == (JobState.QUEUED, {"n": [1]}, None)
    assert (completed.artifact, completed.seconds_remaining) == (ARTIFACT, None)
    assert (failed.failure, waiting.failure) == (FAILURE, FAILURE)
    assert waiting.retry_at is not None
    assert waiting.retry_at - waiting.updated_at == 9_000


def test_a_job_is_immutable(jobs: JobStore) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        in_every_state(jobs)[0].progress = 7  # type: ignore[misc]


def test_from_fields_rejects_an_unknown_state(jobs: JobStore) -> None:
    with pytest.raises(KeyError):
        Job.from_fields({"id": "1", "user": "ann", "status": "sleeping"})
