"""Slots of a cluster move to another node while jobs are created, claimed and finished."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from common.errors import LeaseLost
from common.job_store import keys
from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.jobs.model import Artifact, JobSpec, Progress
from common.jobs.transitions import JobState
from stack.process import wait_until
from tests.support.threaded_load import ThreadedLoad
from tests.support.valkey_topologies import Node, cluster
from tests.unit.conftest import RecordedWakeUps

ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")


class Load(ThreadedLoad):
    """Creates, claims and completes jobs of many users."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._jobs = JobStore(open_client(url, timeout=5), RecordedWakeUps())
        self.completed: list[str] = []

    def step(self, name: str) -> None:
        with suppress(RedisError, LeaseLost):
            job = self._jobs.create(name, JobSpec(file_ids=(1,))).job
            if claim := self._jobs.claim(job.id, "worker"):
                self._jobs.complete(claim.lease, ARTIFACT, Progress())
                self.completed.append(job.id)


def migrate_atomically(nodes: Sequence[Node], slots: Sequence[int]) -> None:
    """Move slots between primaries by Valkey 9's atomic slot migration, and wait for its end."""
    owners: Any = {}
    for node in nodes[:3]:
        for first, last, owner, *_ in node.client.execute_command("CLUSTER SLOTS"):
            owners.update({slot: owner[1] for slot in slots if first <= slot <= last})
    ports = [node.port for node in nodes[:3]]
    for slot in slots:
        source = next(node for node in nodes if node.port == owners[slot])
        target = nodes[(ports.index(source.port) + 1) % 3]
        target_id = target.client.execute_command("CLUSTER MYID")
        source.client.execute_command(
            "CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target_id
        )
        wait_until(lambda: _owner(nodes[0], slot) == target.port, "the migration", 30)  # noqa: B023


def _owner(node: Node, slot: int) -> int:
    for first, last, owner, *_ in node.client.execute_command("CLUSTER SLOTS"):
        if first <= slot <= last:
            return int(owner[1])
    return 0


@pytest.mark.timeout(180)
def test_an_atomic_slot_migration_loses_no_job_and_leaves_none_without_a_lease(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path / "cluster") as (url, nodes):
        redis: Any = open_client(url, timeout=5)
        slots = [redis.keyslot(keys.of_partition("leases", tag)) for tag in keys.all_tags()[:6]]
        with Load(url) as load:
            wait_until(lambda: len(load.completed) > 100, "the load")
            migrate_atomically(nodes, slots)
            before = len(load.completed)
            wait_until(lambda: len(load.completed) > before + 100, "the load afterwards", 60)
        redis.refresh()
        queries = JobQueries(redis)
        found = queries.get_many(load.completed)
        assert len(found) == len(load.completed)
        assert {job.status for job in found} == {JobState.COMPLETED}
        processing = {
            job_id
            for node in nodes[:3]
            for name in node.client.scan_iter("job:status:*", count=1000)
            if node.client.hget(name, "status") == "processing"
            for job_id in [name.rpartition(":")[2]]
        }
        assert processing <= {job.id for job in queries.processing(1000)}
        print(f"\n{len(found)} jobs completed while {len(slots)} slots moved")
