"""Deletion and erasure with a real job store, history and object storage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, delete, select

from api.app import create_app
from common.bootstrap import Services, assemble
from common.history import HistoryWriter, migrate, open_engine
from common.history.tables import ERASURES, JOBS, USAGE
from common.job_store import keys
from common.job_store.archive_references import ArchiveRemovals
from common.job_store.client import open_client
from common.job_store.download_log import DownloadLog
from common.job_store.state_log import StateLog
from common.jobs.model import Job, JobSpec, Progress
from common.object_storage import NoSuchKey
from common.settings import Settings
from stack.postgres import Postgres
from stack.services import Valkey
from tests.integration.archive.conftest import Buckets
from tests.support.archives import RecordingControl
from worker.archive_builder import ArchiveBuilder
from worker.maintenance.archive_remover import ArchiveRemover
from worker.maintenance.history_recorder import HistoryRecorder

OPERATOR = {"Authorization": "Bearer t"}
FILES = (1, 2, 3)


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    client = open_client(valkey.url, timeout=5)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def engine(postgres: Postgres) -> Iterator[Engine]:
    engine = open_engine(postgres.url, timeout=5, size=4)
    migrate(engine)
    with engine.begin() as connection:
        for table in (JOBS, USAGE, ERASURES):
            connection.execute(delete(table))
    yield engine
    engine.dispose()


class Service:
    """The API, and what a worker does, in one process."""

    def __init__(self, services: Services, engine: Engine, buckets: Buckets) -> None:
        self.services = services
        self.engine = engine
        self._buckets = buckets
        self.client: FlaskClient = create_app(services).test_client()
        self._archives = ArchiveBuilder(services)
        self.remover = ArchiveRemover(
            ArchiveRemovals(services.redis), buckets.storage, bucket=buckets.archives
        )
        self.recorder = HistoryRecorder(
            StateLog(services.redis, "history", "one"),
            DownloadLog(services.redis),
            HistoryWriter(engine),
            services.queries,
            migrate=lambda: migrate(engine),
            retention=None,
        )

    def build(self, user: str, **spec: Any) -> Job:
        """Run a job until it is completed."""
        job = self.services.jobs.create(user, JobSpec(file_ids=FILES, **spec)).job
        claim = self.services.jobs.claim(job.id, "worker")
        assert claim is not None
        artifact = self._archives.build(claim, cast("Any", RecordingControl()))
        return self.services.jobs.complete(claim.lease, artifact, Progress(processed_files=3))

    def has_object(self, job: Job) -> bool:
        assert job.artifact is not None
        try:
            self._buckets.storage.head_object(job.artifact.bucket, job.artifact.key)
        except NoSuchKey:
            return False
        return True

    def download_status(self, job: Job) -> int:
        headers = {"Accept": "application/json"}
        return self.client.get(f"/v1/download/{job.id}", headers=headers).status_code

    def delete_archive(self, job: Job) -> None:
        assert self.client.delete(f"/v1/download/{job.id}/archive").status_code == 204

    def erase(self, user: str) -> dict[str, Any]:
        response = self.client.delete(f"/v1/admin/users/{user}", headers=OPERATOR)
        while response.status_code == 202:
            response = self.client.delete(f"/v1/admin/users/{user}", headers=OPERATOR)
        assert response.status_code == 200
        return dict(response.json)

    def owners(self) -> set[str]:
        with self.engine.connect() as connection:
            recorded = connection.execute(select(JOBS.c.owner)).scalars().all()
            used = connection.execute(select(USAGE.c.owner)).scalars().all()
        return {*recorded, *used}


@pytest.fixture
def service(redis: Redis, engine: Engine, buckets: Buckets) -> Service:
    for file_id in FILES:
        buckets.put(file_id, bytes([file_id]) * 1000, name=f"{file_id}.bin")
    settings = Settings(
        admin_token="t",
        archive_bucket=buckets.archives,
        source_url_template=f"s3://{buckets.sources}/{{file_id}}",
    )
    return Service(assemble(settings, redis, buckets.storage, engine), engine, buckets)


def test_a_shared_archive_is_deleted_with_its_last_job(service: Service) -> None:
    alice, bob = service.build("alice"), service.build("bob")
    assert alice.artifact is not None
    assert bob.artifact is not None
    assert alice.artifact.key == bob.artifact.key
    service.delete_archive(alice)
    service.remover.step()
    assert service.download_status(alice) == 410
    assert service.download_status(bob) == 200
    assert service.has_object(bob)
    service.delete_archive(bob)
    service.remover.step()
    assert not service.has_object(bob)
    # The next job builds it again.
    assert service.has_object(service.build("carol"))


def test_erasing_a_user_leaves_nothing_of_them_and_everything_of_others(
    service: Service, redis: Redis
) -> None:
    alice, bob = service.build("alice"), service.build("bob")
    alone = service.build("alice", file_name="own.zip", expires_in=60)
    unlisted = service.build("alice", expires_in=61)
    redis.zrem(keys.user_jobs("alice"), unlisted.id)
    service.client.post(f"/v1/download/{alice.id}/links", json={})
    service.recorder.step()
    assert service.owners() == {"alice", "bob"}

    erased = service.erase("alice")
    assert (erased["jobs"], erased["links"], erased["archives"]) == (3, 1, 3)
    assert erased["history"] == 4  # Three jobs and a day.
    service.remover.step()
    assert service.owners() == {"bob"}
    assert service.has_object(bob)
    assert service.download_status(bob) == 200
    for job in (alice, alone, unlisted):
        assert service.download_status(job) == 404
    assert [key for key in redis.scan_iter() if "alice" in str(key)] == []
    assert service.erase("alice")["jobs"] == 0


def test_late_entries_of_the_state_log_do_not_bring_a_user_back(service: Service) -> None:
    service.build("alice")
    service.services.jobs.create("alice", JobSpec(file_ids=(9,)))
    assert service.erase("alice")["cancelled"] == 1
    service.build("bob")
    service.recorder.step()
    assert service.owners() == {"bob"}
    # What the user does afterwards is recorded.
    service.build("alice")
    service.recorder.step()
    assert service.owners() == {"alice", "bob"}


def test_usage_counts_each_change_once(service: Service, engine: Engine, redis: Redis) -> None:
    size = 0
    for number in range(3):
        artifact = service.build("alice", metadata={"number": number}).artifact
        assert artifact is not None
        size += artifact.size
    cancelled = service.services.jobs.create("alice", JobSpec(file_ids=(9,))).job
    service.services.jobs.cancel(cancelled.id)
    service.recorder.step()
    # A recorder that died before it acknowledged: the entries are recorded again.
    again = HistoryRecorder(
        StateLog(redis, "again", "two"),
        DownloadLog(redis),
        HistoryWriter(engine),
        service.services.queries,
        migrate=lambda: None,
        retention=None,
    )
    again.step()
    headers = {"X-User-Id": "alice"}
    (day,) = service.client.get("/v1/download/usage", headers=headers).get_json()["days"]
    assert (day["jobs"], day["completed"], day["failed"], day["cancelled"]) == (4, 3, 0, 1)
    assert day["bytes"] == size
    assert service.client.get("/v1/download/usage").get_json()["days"] == []
    query = f"from={day['day']}&to={day['day']}"
    exported = service.client.get(f"/v1/admin/usage.csv?{query}", headers=OPERATOR)
    assert exported.text.splitlines()[1] == f"{day['day']},alice,4,3,0,1,{size}"


@pytest.mark.timeout(180)
def test_no_completed_job_loses_its_archive_while_others_delete_it(service: Service) -> None:
    """Jobs that find or build the archive, deletions and removers, all at the same time."""
    ended = threading.Event()
    problems: list[str] = []

    def use(user: str) -> None:
        for number in range(12):
            job = service.build(f"{user}-{number}")
            if not service.has_object(job):
                problems.append(job.id)
            service.services.jobs.delete_archive(job.id)

    def remove() -> None:
        while not ended.is_set():
            service.remover.step()

    with ThreadPoolExecutor(6) as pool:
        removers = [pool.submit(remove) for _ in range(2)]
        users = [pool.submit(use, f"user-{number}") for number in range(4)]
        for user in users:
            user.result()
        ended.set()
        for remover in removers:
            remover.result()
    assert problems == []
