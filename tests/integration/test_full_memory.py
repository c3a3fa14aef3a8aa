"""A job store that has reached ``maxmemory`` with ``noeviction``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from common.celery_app import celery_app
from common.job_store import keys, state_log
from common.job_store.client import open_client
from common.job_store.jobs import Claim, JobStore, Limits
from common.job_store.state_log import StateLog, trim
from common.job_store.sweeper import Sweeper
from common.job_store.worker_registry import WorkerRegistration, WorkerRegistry
from common.jobs.model import Artifact, Failure, JobSpec, Progress
from common.jobs.transitions import JobState
from common.wake_ups import Dispatcher
from stack.services import Valkey

ARTIFACT = Artifact(bucket="b", key="k", name="n", size=1, content_type="t")
FAILURE = Failure(code="NETWORK_ERROR", message="The connection broke", retryable=True)


@pytest.fixture
def dispatcher(valkey: Valkey) -> Dispatcher:
    return Dispatcher(celery_app(valkey.url), same_server=True)


@pytest.fixture
def jobs(redis: Redis, dispatcher: Dispatcher) -> JobStore:
    return JobStore(redis, dispatcher)


@pytest.fixture
def full(redis: Redis) -> Iterator[None]:
    yield
    redis.config_set("maxmemory", 0)


def claim(jobs: JobStore, user: str) -> Claim:
    claimed = jobs.claim(jobs.create(user, JobSpec(file_ids=(1,))).job.id, "worker")
    assert claimed is not None
    return claimed


@pytest.mark.usefixtures("full")
def test_jobs_end_and_are_recovered_although_no_memory_is_left(
    jobs: JobStore, redis: Redis, dispatcher: Dispatcher, valkey: Valkey
) -> None:
    leases = [claim(jobs, f"user-{number}").lease for number in range(5)]
    waiting = jobs.create("alice", JobSpec(file_ids=(1,))).job
    other = jobs.create("bob", JobSpec(file_ids=(1,))).job
    own = open_client(valkey.url, timeout=2, own_connection=True)
    registration = WorkerRegistration(own, "worker", slots=1, running=lambda: ())
    expired = leases[4].job_id
    redis.zadd(keys.of_partition("leases", keys.tag_of_job(expired)), {expired: 1}, xx=True)
    redis.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        jobs.create("alice", JobSpec(file_ids=(2,)))
    registration.heartbeat()  # For the first time.
    assert [worker.name for worker in WorkerRegistry(redis).registered()] == ["worker"]
    assert jobs.heartbeat(leases[0], {"progress": 5}) == "CONTINUE"
    assert jobs.complete(leases[0], ARTIFACT, Progress()).status is JobState.COMPLETED
    assert jobs.fail(leases[1], FAILURE).status is JobState.FAILED
    assert jobs.retry_later(leases[2], FAILURE, 60).status is JobState.QUEUED
    assert jobs.return_to_queue(leases[3]).status is JobState.QUEUED
    assert jobs.cancel(other.id).status is JobState.CANCELLED
    assert jobs.claim(waiting.id, "worker") is not None
    sweeper = Sweeper(redis, dispatcher, Limits(), max_wait=300)
    assert sweeper.sweep(lambda: None).recovered == 1
    own.close()


@pytest.mark.usefixtures("full")
def test_a_worker_starts_to_consume_although_no_memory_is_left(
    jobs: JobStore, redis: Redis, valkey: Valkey
) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    redis.config_set("maxmemory", 1)
    app = celery_app(valkey.url)
    wake_ups: list[Any] = []
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection.channel(), on_message=wake_ups.append)
        control = app.control.mailbox.Node("new@host", channel=connection.channel())
        with consumer, control.Consumer():
            while not wake_ups:
                # Each call handles one event, which may be another one.
                connection.drain_events(timeout=10)
    assert [wake_up.payload[0][0] for wake_up in wake_ups] == [job.id]


def test_the_state_log_is_limited_by_bytes(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_log, "MAX_BYTES", 400_000)
    StateLog(redis, "nobody", "a").create_group()
    stream = keys.of_partition("state_log", keys.tag_of_user("alice"))
    for number in range(400):
        job = jobs.create("alice", JobSpec(file_ids=(number,), metadata={"text": "x" * 2_000})).job
        jobs.cancel(job.id)
    before = redis.memory_usage(stream)
    trim(redis)
    after = redis.memory_usage(stream)
    assert before is not None
    assert after is not None
    assert before > 1_000_000
    assert after < 600_000


def test_a_group_that_nobody_reads_is_deleted(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_log, "GROUP_IDLE_AFTER", -2)
    abandoned, reader = StateLog(redis, "abandoned", "a"), StateLog(redis, "reader", "a")
    abandoned.create_group()
    reader.create_group()
    jobs.create("alice", JobSpec(file_ids=(1,)))
    entries = reader.read(count=10)
    trim(redis)
    groups = redis.xinfo_groups(entries[0].stream)
    assert [group["name"] for group in groups] == ["reader"]
