"""A primary that is demoted or loads its data: clients reconnect, and workers stay alive."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from common.celery_app import celery_app
from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.worker_registry import WorkerRegistry
from common.jobs.model import JobSpec
from common.wake_ups import Dispatcher
from stack.process import Process, free_port, wait_until
from stack.services import Valkey, start_valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    server = start_valkey(tmp_path / "valkey")
    yield server
    server.process.stop()


@pytest.fixture
def admin(server: Valkey) -> Iterator[Redis]:
    client = Redis.from_url(server.url, decode_responses=True)
    yield client
    client.close()


def demote(admin: Redis) -> None:
    """Make the server a replica of a primary that does not respond."""
    admin.replicaof("127.0.0.1", free_port())


def promote(admin: Redis) -> None:
    admin.replicaof("NO", "ONE")


def job_store(server: Valkey, client: Redis) -> JobStore:
    return JobStore(client, Dispatcher(celery_app(server.url), same_server=True))


@pytest.mark.parametrize("own_connection", [True, False])
def test_a_client_drops_its_connection_to_a_demoted_primary(
    server: Valkey, admin: Redis, own_connection: bool
) -> None:
    client = open_client(server.url, timeout=2, own_connection=own_connection)
    jobs = job_store(server, client)
    jobs.create("alice", JobSpec(file_ids=(1,)))
    connection = client.client_id()
    demote(admin)
    with pytest.raises(RedisConnectionError, match="READONLY"):
        jobs.create("alice", JobSpec(file_ids=(2,)))
    promote(admin)
    jobs.create("alice", JobSpec(file_ids=(3,)))
    assert client.client_id() != connection
    client.close()


def test_a_pipeline_drops_its_connection_to_a_demoted_primary(server: Valkey, admin: Redis) -> None:
    client = open_client(server.url, timeout=2)
    connection = client.client_id()
    demote(admin)
    pipe = client.pipeline(transaction=False)
    pipe.get("a")
    pipe.set("a", 1)
    pipe.get("a")
    with pytest.raises(RedisConnectionError, match="READONLY"):
        pipe.execute()
    promote(admin)
    assert client.get("a") is None
    assert client.client_id() != connection
    client.close()


def test_a_client_with_time_left_repeats_a_command_until_there_is_a_primary(
    server: Valkey, admin: Redis
) -> None:
    client = open_client(server.url, timeout=20)
    admin.config_set("min-replicas-to-write", 1)
    with pytest.raises(RedisConnectionError, match="NOREPLICAS"):
        open_client(server.url, timeout=1).set("a", 1)
    timer = threading.Timer(1.0, lambda: admin.config_set("min-replicas-to-write", 0))
    timer.start()
    assert client.set("a", 1)
    timer.join()
    client.close()


@pytest.fixture
def worker(server: Valkey, admin: Redis, tmp_path: Path) -> Iterator[Process]:
    env = {
        **os.environ,
        "REDIS_URL": server.url,
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "METRICS_PORT": "0",
    }
    worker = Process("worker", [sys.executable, "-m", "worker"], env=env, output=tmp_path / "log")
    try:
        registry = WorkerRegistry(admin)
        wait_until(lambda: bool(registry.registered()), "the worker")
        yield worker
    finally:
        worker.kill()


def wait_for_an_attempt(server: Valkey, admin: Redis) -> None:
    job_id = job_store(server, admin).create("alice", JobSpec(file_ids=(1,))).job.id
    queries = JobQueries(admin)
    wait_until(lambda: queries.get(job_id).version > 1, "the attempt", 15)


def test_an_idle_worker_survives_demotions(server: Valkey, admin: Redis, worker: Process) -> None:
    registry = WorkerRegistry(admin)
    for _ in range(2):
        demote(admin)
        # Celery's blocking read is interrupted, and for some seconds every command is rejected.
        time.sleep(4)
        assert worker.alive
        promote(admin)
        admin.flushall()
        wait_until(lambda: bool(registry.registered()), "the worker")
    wait_for_an_attempt(server, admin)


def test_an_idle_worker_survives_missing_replicas(
    server: Valkey, admin: Redis, worker: Process
) -> None:
    admin.config_set("min-replicas-to-write", 1)
    time.sleep(6)
    assert worker.alive
    admin.config_set("min-replicas-to-write", 0)
    wait_for_an_attempt(server, admin)


#: Seconds that the server takes to load ``KEYS`` keys.
LOADING = 6
KEYS = 2_000


def test_an_idle_worker_survives_a_server_that_loads_its_data(
    server: Valkey, admin: Redis, worker: Process, tmp_path: Path
) -> None:
    """While it loads, Valkey replies LOADING to every command (valkey.io/topics/persistence)."""
    jobs = job_store(server, open_client(server.url, timeout=1))
    admin.mset({f"key:{number}": number for number in range(KEYS)})
    admin.bgrewriteaof()
    wait_until(lambda: not admin.info("persistence")["aof_rewrite_in_progress"], "the rewriting")
    server.process.kill()
    loading = start_valkey(
        tmp_path / "valkey",
        port=server.port,
        options=(
            *("--key-load-delay", str(LOADING * 1_000_000 // KEYS)),
            *("--loading-process-events-interval-bytes", "1024"),
        ),
    )
    try:
        with pytest.raises(BusyLoadingError):
            admin.ping()
        began = time.monotonic()
        with pytest.raises(RedisConnectionError, match="loading the dataset"):
            jobs.create("alice", JobSpec(file_ids=(2,)))
        assert time.monotonic() - began < 2
        time.sleep(LOADING / 2)
        assert worker.alive
        wait_until(lambda: can_write(admin), "the end of loading", 3 * LOADING)
        wait_for_an_attempt(server, admin)
    finally:
        loading.process.stop()


def can_write(client: Redis) -> bool:
    try:
        return bool(client.set("writable", 1))
    except RedisError:
        return False
