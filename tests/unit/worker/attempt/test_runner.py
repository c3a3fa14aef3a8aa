"""How attempts are claimed, and how their ends are reported to the job store."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from common.clock import Clock
from common.errors import DependencyUnavailable, Draining, FileChanged, ResumableDeadline
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.jobs.model import Artifact, FileReport, JobSpec, WakeUp
from common.jobs.transitions import JobState
from common.sources.files import name_file
from tests.unit.conftest import RecordedWakeUps
from worker.attempt.heartbeat import HeartbeatThread
from worker.attempt.runner import (
    REPORT_TIMEOUT,
    STORE_UNAVAILABLE,
    AttemptRunner,
    Backoff,
    Build,
)

ARTIFACT = Artifact(bucket="b", key="k", name="n.zip", size=1, content_type="application/zip")
LOST = RedisConnectionError("Connection reset by peer")


class FastClock:
    """A clock that sleeps do not wait for."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def runner_of(
    jobs: Any, build: Build = lambda *_: ARTIFACT, clock: Clock = time
) -> tuple[AttemptRunner, HeartbeatThread]:
    heartbeat = HeartbeatThread(jobs, interval=60, on_heartbeat=lambda: None)
    runner = AttemptRunner(
        jobs, heartbeat, build, name="worker", deadline=60, backoff=Backoff(), clock=clock
    )
    return runner, heartbeat


@pytest.fixture
def wake_up(jobs: JobStore, wake_ups: RecordedWakeUps) -> WakeUp:
    jobs.create("alice", JobSpec(file_ids=(1,)))
    return wake_ups.wake_ups[0]


@pytest.fixture
def minutes_between_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.attempt.runner.STORE_RETRY_INTERVAL", 300.0)


@pytest.mark.parametrize(
    "reason", [RedisConnectionError("reset by peer"), Draining(), ResumableDeadline()], ids=repr
)
def test_an_attempt_that_ends_without_failure_uses_no_attempt(
    jobs: JobStore, queries: JobQueries, redis: Redis, wake_up: WakeUp, reason: Exception
) -> None:
    def build(*_: Any) -> Any:
        raise reason

    runner, _ = runner_of(jobs, build)
    runner.run_download(wake_up)
    job = queries.get(wake_up.job_id)
    assert (job.status, job.attempt) == (JobState.QUEUED, 0)
    assert job.reason in {STORE_UNAVAILABLE, str(reason)}
    assert redis.llen(keys.attempts(job.id)) == 0


@pytest.mark.parametrize(
    ("reason", "is_postponed"), [(DependencyUnavailable(), True), (Draining(), False)], ids=repr
)
def test_only_an_unavailable_dependency_postpones_a_job(
    jobs: JobStore, queries: JobQueries, wake_up: WakeUp, reason: Exception, *, is_postponed: bool
) -> None:
    def build(*_: Any) -> Any:
        raise reason

    runner, _ = runner_of(jobs, build)
    runner.run_download(wake_up)
    job = queries.get(wake_up.job_id)
    assert (job.status, job.attempt) == (JobState.QUEUED, 0)
    assert (job.postponed_since is not None) == is_postponed


def test_the_file_that_let_the_job_fail_shows_why(
    jobs: JobStore, queries: JobQueries, wake_ups: RecordedWakeUps
) -> None:
    def build(*_: Any) -> Any:
        raise name_file(FileChanged("It changed (HTTP 412)"), 2)

    spec = JobSpec(file_ids=(1, 2, 2), paths=("a", "b", "c"))
    job = jobs.create("alice", spec).job
    runner, _ = runner_of(jobs, build)
    runner.run_download(wake_ups.wake_ups[0])
    assert queries.get(job.id).status is JobState.FAILED
    why = {"error_code": "FILE_CHANGED", "error": "File 2: It changed (HTTP 412)"}
    assert queries.files(job.id, spec.file_ids) == [
        FileReport(file_id=1, state="pending"),
        FileReport(file_id=2, state="failed", **why),
        FileReport(file_id=2, state="failed", copy=1, **why),
    ]


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
        return ARTIFACT

    runner, _ = runner_of(jobs, build)
    runner.run_download(wake_up)
    assert seen == ([JobState.COMPLETED] if error is None else [])


class LosesResponses:
    """A job store whose claims succeed, but whose first responses do not arrive."""

    def __init__(self, jobs: JobStore, *, losses: int, error: Exception) -> None:
        self._jobs, self._losses, self._error = jobs, losses, error

    def claim(self, *args: Any, **options: Any) -> Any:
        claim = self._jobs.claim(*args, **options)
        self._losses -= 1
        if self._losses >= 0:
            raise self._error
        return claim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)


@pytest.mark.usefixtures("minutes_between_retries")
def test_a_claim_whose_response_is_lost_is_repeated_and_the_job_runs(
    jobs: JobStore, queries: JobQueries, wake_up: WakeUp
) -> None:
    """Found by simulation: after an outage the sweeper counted a lost attempt for such a job."""
    clock = FastClock()
    runner, _ = runner_of(LosesResponses(jobs, losses=30, error=LOST), clock=clock)
    runner.run_download(wake_up)
    job = queries.get(wake_up.job_id)
    assert (job.status, job.attempt) == (JobState.COMPLETED, 1)
    assert clock.now == 9_000


def test_a_claim_is_given_up_when_the_process_shuts_down(jobs: JobStore, wake_up: WakeUp) -> None:
    clock = FastClock()
    runner, heartbeat = runner_of(LosesResponses(jobs, losses=1, error=LOST), clock=clock)
    heartbeat.drain()
    with pytest.raises(RedisConnectionError):
        runner.run_download(wake_up)
    assert clock.now == 0


def test_a_claim_is_not_repeated_after_an_error_of_the_script(
    jobs: JobStore, wake_up: WakeUp
) -> None:
    clock, error = FastClock(), ResponseError("WRONGTYPE Operation against a key")
    runner, _ = runner_of(LosesResponses(jobs, losses=1, error=error), clock=clock)
    with pytest.raises(ResponseError):
        runner.run_download(wake_up)
    assert clock.now == 0


class Outage:
    """A job store that does not respond to the first reports of results."""

    def __init__(self, jobs: JobStore, *, failures: int, error: Exception) -> None:
        self._jobs, self._failures, self._error = jobs, failures, error

    def complete(self, *args: Any) -> Any:
        self._failures -= 1
        if self._failures >= 0:
            raise self._error
        return self._jobs.complete(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)


@pytest.mark.usefixtures("minutes_between_retries")
def test_a_result_is_kept_until_the_job_store_is_back(
    jobs: JobStore, queries: JobQueries, wake_up: WakeUp
) -> None:
    clock = FastClock()
    runner, _ = runner_of(Outage(jobs, failures=100, error=LOST), clock=clock)
    runner.run_download(wake_up)
    job = queries.get(wake_up.job_id)
    assert (job.status, job.attempt) == (JobState.COMPLETED, 1)
    assert clock.now == 30_000


@pytest.mark.usefixtures("minutes_between_retries")
@pytest.mark.parametrize(
    ("error", "draining"),
    [(ResponseError("WRONGTYPE Operation against a key"), False), (LOST, True)],
)
def test_a_result_is_given_up_after_a_while_if_it_is_rejected_or_the_process_shuts_down(
    jobs: JobStore, wake_up: WakeUp, error: Exception, draining: bool
) -> None:
    clock = FastClock()
    heartbeat: HeartbeatThread

    def build(*_: Any) -> Artifact:
        if draining:
            heartbeat.drain()
        return ARTIFACT

    runner, heartbeat = runner_of(Outage(jobs, failures=100, error=error), build, clock)
    with pytest.raises(type(error)):
        runner.run_download(wake_up)
    assert clock.now == REPORT_TIMEOUT
