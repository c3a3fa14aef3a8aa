"""A job store that stalls for a few seconds: every worker is alive, so no attempt may be lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.bootstrap import Services, connect
from common.job_store import keys
from common.job_store.worker_registry import WorkerRegistration
from common.jobs.model import JobSpec
from common.jobs.transitions import JobState
from common.settings import Settings
from stack.services import Valkey, start_valkey
from worker.attempt.control import AttemptControl
from worker.attempt.heartbeat import HeartbeatThread
from worker.maintenance.sweep_thread import SweepThread

WORKERS = 4
JOBS_EACH = 3
#: Below the product's ten seconds, so that the grace at the start is soon over.
LEASE = 6.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    server = start_valkey(tmp_path / "valkey")
    yield server
    server.process.stop()


class _Worker:
    """The threads of a worker process that watch over jobs."""

    def __init__(self, services: Services, name: str) -> None:
        self.name = name
        registration = WorkerRegistration(
            services.own_connection(), name, slots=JOBS_EACH, running=lambda: ()
        )
        self.heartbeat = HeartbeatThread(
            services.jobs, interval=0.5, on_heartbeat=registration.heartbeat
        )
        self._sweep_thread = SweepThread(
            services.sweeper,
            client=services.redis,
            dispatcher=services.dispatcher,
            workers=services.workers,
            interval=1.0,
            lease=LEASE,
        )

    def start(self) -> None:
        self.heartbeat.start()
        self._sweep_thread.start()

    def stop(self) -> None:
        self._sweep_thread.stop()
        self.heartbeat.stop()


def test_stalls_cost_no_attempt(server: Valkey) -> None:
    settings = Settings(redis_url=server.url, lease_seconds=LEASE)
    services = [connect(settings, timeout=20.0) for _ in range(WORKERS)]
    workers = [_Worker(each, f"worker-{number}") for number, each in enumerate(services)]
    jobs, queries = services[0].jobs, services[0].queries
    with ExitStack() as stack:
        claimed = []
        for number, each in enumerate(workers):
            each.start()
            stack.callback(each.stop)
            for index in range(JOBS_EACH):
                job = jobs.create(f"user-{number}-{index}", JobSpec(file_ids=(1,))).job
                claim = jobs.claim(job.id, each.name)
                assert claim is not None
                control = AttemptControl(deadline=600)
                stack.enter_context(each.heartbeat.keep_lease(claim.lease, control))
                claimed.append(job.id)
        time.sleep(LEASE + 2)  # Until the sweepers trust what they see.
        for stall in (2.5, 2.1):
            server.process.signal(signal.SIGSTOP)
            time.sleep(stall)
            server.process.signal(signal.SIGCONT)
            time.sleep(3)
        time.sleep(LEASE)
        found = [queries.get(job_id) for job_id in claimed]
        assert {(job.status, job.attempt) for job in found} == {(JobState.PROCESSING, 1)}
        assert services[0].redis.scard(keys.WORKERS) == WORKERS
