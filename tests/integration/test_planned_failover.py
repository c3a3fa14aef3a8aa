"""A failover that an operator asks for, under load, with real Sentinels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from common.celery_app import celery_app
from common.job_store import keys
from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.jobs.model import JobSpec
from common.wake_ups import Dispatcher
from stack.process import wait_until
from tests.support.threaded_load import ThreadedLoad
from tests.support.valkey_topologies import SERVICE, Node, sentinels

#: Seconds until each process has learned of the new primary, and what a busy machine adds.
NOTICED_WITHIN = 0.5 + 1.0


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, Sequence[Node]]]:
    with sentinels(tmp_path / "sentinels") as made:
        yield made


class Load(ThreadedLoad):
    """Creates jobs, and records when each one was accepted."""

    pause = 0.01

    def __init__(self, url: str) -> None:
        super().__init__()
        self._jobs = JobStore(
            open_client(url, timeout=1.5), Dispatcher(celery_app(url), same_server=True)
        )
        self.accepted: dict[str, float] = {}

    def step(self, name: str) -> None:
        with suppress(RedisError):
            job = self._jobs.create(name, JobSpec(file_ids=(1,))).job
            self.accepted[job.id] = time.monotonic()


def fail_over(url: str, nodes: Sequence[Node], *options: str) -> Redis:
    """Ask a Sentinel for a failover; return a client of the new primary once it is one."""
    first, second = nodes
    port = int(url.partition("://")[2].partition(",")[0].rpartition(":")[2])
    with Redis(port=port, decode_responses=True) as sentinel:
        sentinel.execute_command("SENTINEL FAILOVER", SERVICE, *options)
    wait_until(lambda: second.info("role") == "master", "the new primary", 30)
    wait_until(lambda: first.info("role") == "slave", "the old primary's demotion", 60)
    return second.client


def lost(primary: Redis, accepted: dict[str, float]) -> list[float]:
    """Return when the jobs were accepted that the new primary does not have."""
    return sorted(at for job_id, at in accepted.items() if not primary.exists(keys.status(job_id)))


@pytest.mark.timeout(180)
def test_a_coordinated_fail_over_loses_no_accepted_job(
    running: tuple[str, Sequence[Node]],
) -> None:
    url, nodes = running
    with Load(url) as load:
        wait_until(lambda: len(load.accepted) > 50, "the load")
        primary = fail_over(url, nodes, "COORDINATED")
        before = len(load.accepted)
        wait_until(lambda: len(load.accepted) > before + 50, "jobs on the new primary")
    print(f"\n{len(load.accepted)} jobs accepted")
    assert lost(primary, load.accepted) == []


@pytest.mark.timeout(180)
def test_any_other_fail_over_loses_only_what_was_accepted_until_it_was_noticed(
    running: tuple[str, Sequence[Node]],
) -> None:
    url, nodes = running
    with Load(url) as load:
        wait_until(lambda: len(load.accepted) > 50, "the load")
        started = time.monotonic()
        primary = fail_over(url, nodes)
        demoted = time.monotonic() - started
        before = len(load.accepted)
        wait_until(lambda: len(load.accepted) > before + 50, "jobs on the new primary")
    times = lost(primary, load.accepted)
    window = times[-1] - times[0] if times else 0.0
    print(
        f"\nold primary demoted after {demoted:.1f} s; {len(times)} of {len(load.accepted)} "
        f"accepted jobs lost, within {window:.1f} s"
    )
    assert window < NOTICED_WITHIN
