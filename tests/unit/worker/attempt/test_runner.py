"""How the end of an attempt is reported to the job store."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.errors import DeadlineHandover, Draining
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.jobs.model import Artifact, JobSpec, WakeUp
from common.jobs.transitions import JobState
from tests.unit.conftest import RecordedWakeUps
from worker.attempt.heartbeat import HeartbeatThread
from worker.attempt.runner import AttemptRunner, Backoff


@pytest.fixture
def wake_up(jobs: JobStore, wake_ups: RecordedWakeUps) -> WakeUp:
    jobs.create("alice", JobSpec(file_ids=(1,)))
    return wake_ups.wake_ups[0]


@pytest.mark.parametrize(
    "reason", [RedisConnectionError("reset by peer"), Draining(), DeadlineHandover()], ids=repr
)
def test_an_attempt_that_ends_without_failure_uses_no_attempt(
    jobs: JobStore, queries: JobQueries, redis: Redis, wake_up: WakeUp, reason: Exception
) -> None:
    def build(*_: Any) -> Any:
        raise reason

    heartbeat = HeartbeatThread(jobs, interval=60, on_heartbeat=lambda: None)
    runner = AttemptRunner(jobs, heartbeat, build, name="worker", deadline=60, backoff=Backoff())
    runner.run_download(wake_up)
    job = queries.get(wake_up.job_id)
    assert (job.status, job.attempt) == (JobState.QUEUED, 0)
    assert redis.llen(keys.attempts(job.id)) == 0


@pytest.mark.parametrize("error", [None, RedisConnectionError("reset"), OSError("no"), Draining()])
def test_what_an_attempt_defers_runs_once_the_job_is_completed(
    jobs: JobStore, queries: JobQueries, wake_up: WakeUp, error: Exception | None
) -> None:
    seen: list[JobState] = []

    def build(_: Any, control: Any) -> Artifact:
        def fail() -> None:
            raise OSError("the storage is unavailable")

        control.defer(fail)
        control.defer(lambda: seen.append(queries.get(wake_up.job_id).status))
        assert seen == []
        if error is not None:
            raise error
        return Artifact(bucket="b", key="k", name="n.zip", size=1, content_type="application/zip")

    heartbeat = HeartbeatThread(jobs, interval=60, on_heartbeat=lambda: None)
    runner = AttemptRunner(jobs, heartbeat, build, name="worker", deadline=60, backoff=Backoff())
    runner.run_download(wake_up)
    assert seen == ([JobState.COMPLETED] if error is None else [])
