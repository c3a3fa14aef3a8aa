"""Streams on a cluster, and during a failover by Sentinel."""

from __future__ import annotations

from pathlib import Path

from redis.exceptions import RedisError

from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.jobs.model import JobSpec
from stack.process import wait_until
from tests.integration.live.conftest import store
from tests.support.live_api import Api, running
from tests.support.valkey_topologies import cluster, sentinels


def test_streams_of_all_partitions_work_on_a_cluster(tmp_path: Path) -> None:
    with (
        cluster(tmp_path / "nodes") as (url, _),
        # Celery cannot use a cluster.
        running(Api(url, tmp_path / "log", BROKER_URL="redis://127.0.0.1:1")) as api,
    ):
        jobs = store(open_client(url, timeout=5))
        job_ids = [jobs.create(f"user-{n}", JobSpec(file_ids=(n + 1,))).job.id for n in range(40)]
        assert len({job_id[1] for job_id in job_ids}) > 8
        streams = [api.open_stream(job_id) for job_id in job_ids]
        for stream in streams:
            assert stream.next().name == "connected"
        for job_id in job_ids:
            jobs.cancel(job_id)
        for stream in streams:
            assert [event.name for event in stream] == ["cancelled"]
            stream.close()


def cancelled(jobs: JobStore, job_id: str) -> bool:
    try:
        return jobs.cancel(job_id).terminal
    except RedisError:
        return False


def test_stream_continues_after_a_failover(tmp_path: Path) -> None:
    with (
        sentinels(tmp_path / "nodes") as (url, (first, _)),
        running(Api(url, tmp_path / "log", HEARTBEAT_INTERVAL=1)) as api,
    ):
        jobs = store(open_client(url, timeout=20))
        job_id = jobs.create("alice", JobSpec(file_ids=(1,))).job.id
        first.client.execute_command("WAIT", 1, 2000)
        with api.open_stream(job_id, timeout=40) as stream:
            assert stream.next().name == "connected"
            first.process.kill()
            wait_until(lambda: cancelled(jobs, job_id), "the failover", 40)
            assert list(stream)[-1].name == "cancelled"
