"""The thread that deletes the objects of archives that no job needs."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from common.errors import NetworkError
from common.job_store.archive_references import DELETE_TIMEOUT, ArchiveReferences, ArchiveRemovals
from common.job_store.jobs import JobStore
from common.jobs.model import Artifact, JobSpec, Progress
from worker.maintenance.archive_remover import ArchiveRemover

COMPOSED = "archives/0123abcd/archive.zip"


class Storage:
    def __init__(self) -> None:
        self.deleted: list[tuple[str, str]] = []
        self.available = True

    def delete_object(self, bucket: str, key: str, *, timeout: float, **_: Any) -> None:
        assert timeout <= DELETE_TIMEOUT
        if not self.available:
            raise NetworkError
        self.deleted.append((bucket, key))


class Setup:
    def __init__(self, redis: Redis, jobs: JobStore) -> None:
        self.now = 0.0
        self.storage = Storage()
        self._jobs = jobs
        self._references = ArchiveReferences(redis)
        self.removals = ArchiveRemovals(redis, clock=lambda: self.now)
        self.remover = ArchiveRemover(self.removals, self.storage, bucket="archives")

    def complete(self, user: str, key: str, bucket: str = "archives") -> str:
        job = self._jobs.create(user, JobSpec(file_ids=(1,))).job
        claim = self._jobs.claim(job.id, "worker")
        assert claim is not None
        assert self._references.hold(key, claim.lease, keep=3600)
        artifact = Artifact(bucket=bucket, key=key, name="a", size=1, content_type="text/plain")
        completed = self._jobs.complete(claim.lease, artifact, Progress())
        self.now = completed.updated_at / 1000 + 5
        return job.id

    def delete(self, job_id: str) -> None:
        self._jobs.delete_archive(job_id)
        self.now += 1


@pytest.fixture
def setup(redis: Redis, jobs: JobStore) -> Setup:
    return Setup(redis, jobs)


@pytest.mark.parametrize("key", [COMPOSED, "jobs/1/2/a.zip"])
def test_a_deleted_archive_is_deleted_from_the_storage(setup: Setup, key: str) -> None:
    setup.delete(setup.complete("alice", key))
    setup.remover.step()
    assert setup.storage.deleted == [("archives", key)]
    assert setup.removals.due(10) == []


@pytest.mark.parametrize(
    ("bucket", "key"), [("files", "7"), ("files", COMPOSED), ("archives", "reports/7.pdf")]
)
def test_the_file_of_a_source_is_never_deleted(setup: Setup, bucket: str, key: str) -> None:
    setup.delete(setup.complete("alice", key, bucket))
    setup.remover.step()
    assert setup.storage.deleted == []
    assert setup.removals.due(10) == []


def test_a_shared_archive_stays_until_its_last_job_lets_it_go(setup: Setup) -> None:
    first, second = setup.complete("alice", COMPOSED), setup.complete("bob", COMPOSED)
    setup.delete(first)
    setup.remover.step()
    assert setup.storage.deleted == []
    setup.delete(second)
    setup.remover.step()
    assert setup.storage.deleted == [("archives", COMPOSED)]


def test_a_deletion_is_repeated_after_an_outage_of_the_storage(setup: Setup) -> None:
    setup.storage.available = False
    setup.delete(setup.complete("alice", "jobs/1/2/a.zip"))
    setup.remover.step()
    assert setup.removals.due(10) == []
    setup.storage.available = True
    setup.now += 31
    assert len(setup.removals.due(10)) == 1
