"""The job store and the broker behind Sentinels that replace a dead primary."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from redis import Redis
from redis.exceptions import RedisError

from common.bootstrap import same_server
from common.celery_app import QUEUE_PREFIX, celery_app
from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.job_store.subscription import open_subscriptions
from common.job_store.worker_registry import WorkerRegistration, WorkerRegistry
from common.jobs.model import PRIORITIES, JobSpec
from common.wake_ups import Dispatcher
from stack.process import wait_until
from tests.support.valkey_topologies import Node, sentinels


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Sequence[Node]]]:
    with sentinels(tmp_path_factory.mktemp("sentinel")) as made:
        yield made


def consume(url: str) -> list[str]:
    """Return the ids of the jobs in the queues, read as a worker reads them."""
    found = []
    with celery_app(url).connection_for_read() as connection, connection.channel() as channel:
        for priority in PRIORITIES:
            while message := channel.basic_get(QUEUE_PREFIX + priority, no_ack=True):
                found.append(message.decode()[0][0])
    return found


def test_store_and_broker_survive_the_death_of_the_primary(
    running: tuple[str, Sequence[Node]],
) -> None:
    url, (primary, _) = running
    redis = open_client(url, timeout=5)
    assert same_server(url, url)
    jobs = JobStore(redis, Dispatcher(celery_app(url), same_server=True))
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    assert consume(url) == [job.id]
    own = open_client(url, timeout=2, own_connection=True)
    registration = WorkerRegistration(own, "worker", slots=1, running=lambda: ())
    registration.heartbeat()
    (subscription,) = open_subscriptions(redis)
    subscription.connect()
    time.sleep(0.5)
    primary.process.kill()
    killed = time.monotonic()
    wait_until(lambda: _works(redis), "the store to go on", timeout=30)
    print(f"\nthe store went on {time.monotonic() - killed:.1f} s after the death of the primary")
    time.sleep(1.6)
    # The new primary does not have the worker's connection, which does not prove its death.
    registry = WorkerRegistry(redis)
    assert registry.dead() == registry.dead() == []
    registration.heartbeat()
    assert [worker.name for worker in WorkerRegistry(redis).registered()] == ["worker"]
    claim = jobs.claim(job.id, "worker")
    assert claim
    jobs.return_to_queue(claim.lease)
    assert consume(url) == [job.id]
    subscription.connect()
    subscription.watch([job.id])
    subscription.flush()
    seen: list[str] = []

    def came() -> bool:
        subscription.receive(lambda job_id, _: seen.append(job_id))
        return job.id in seen

    wait_until(came, "the subscription")
    subscription.close()


def _works(redis: Redis) -> bool:
    try:
        return bool(redis.set("probe", "1"))
    except RedisError:
        return False
