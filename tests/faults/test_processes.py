"""Each process is killed or stopped in the middle of a job, and the job goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from common.jobs.model import Job
from common.jobs.transitions import JobState
from common.store import keys
from common.store.queries import JobQueries
from tests.faults.arena import FILES, Arena, wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with Arena(tmp_path_factory.mktemp("arena"), workers=2, seed=1) as arena:
        yield arena


@pytest.fixture
def arena(running: Arena) -> Iterator[Arena]:
    yield running
    running.heal()


@pytest.fixture
def queries(arena: Arena) -> JobQueries:
    return JobQueries(arena.redis)


def post(arena: Arena, number: int, user: str) -> str:
    """A job whose order of files no other has, so that no archive is found ready."""
    ids = [sample.file_id for sample in FILES[:8]]
    turned = ids[number:] + ids[:number]
    answer = httpx.post(
        f"{arena.system.base_url}/v1/download/initiate",
        json={"file_ids": turned},
        headers={"X-User-Id": user},
        timeout=10,
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["jobId"])


def in_the_middle(arena: Arena, queries: JobQueries, number: int, user: str) -> tuple[Job, str]:
    """A job that is at work and cannot end, and the name of the process that does it."""
    arena.s3_line.hold()
    job_id = post(arena, number, user)
    wait_for(lambda: queries.get(job_id).status is JobState.PROCESSING, "a start", 20)
    job = queries.get(job_id)
    assert job.worker is not None
    pid = int(job.worker.split("-")[-2])
    processes = arena.system.processes
    return job, next(name for name in arena.system.workers if processes[name].pid == pid)


def ended(queries: JobQueries, job_id: str, timeout: float = 60) -> Job:
    wait_for(lambda: queries.get(job_id).terminal, f"the end of {job_id}", timeout)
    return queries.get(job_id)


def test_a_killed_workers_job_runs_again_elsewhere_at_once(
    arena: Arena, queries: JobQueries
) -> None:
    job, worker = in_the_middle(arena, queries, 0, "killed")
    arena.system.kill_part(worker)
    again = wait_for(lambda: queries.get(job.id).attempt == 2, "a second attempt", 12)
    print(f"again after {again:.1f} s")
    assert queries.get(job.id).worker != job.worker
    arena.heal()
    assert ended(queries, job.id).status is JobState.COMPLETED
    arena.system.start_part(worker)


def test_a_stopped_worker_loses_its_job_and_its_late_word_is_refused(
    arena: Arena, queries: JobQueries
) -> None:
    job, worker = in_the_middle(arena, queries, 1, "stopped")
    zombie = arena.system.processes[worker]
    zombie.signal(signal.SIGSTOP)
    wait_for(lambda: queries.get(job.id).attempt == 2, "a second attempt", 30)
    arena.heal()
    done = ended(queries, job.id)
    zombie.signal(signal.SIGCONT)
    time.sleep(3)
    assert done.status is JobState.COMPLETED
    assert queries.get(job.id).version == done.version


def test_valkey_is_killed_and_the_job_at_work_is_not_started_twice(
    arena: Arena, queries: JobQueries
) -> None:
    job, _ = in_the_middle(arena, queries, 2, "valkey")
    arena.system.kill_part("valkey")
    started = time.monotonic()
    refused = httpx.post(
        f"{arena.system.base_url}/v1/download/initiate", json={"file_ids": [10001]}, timeout=10
    )
    assert refused.status_code == 503
    assert time.monotonic() - started < 2.5
    time.sleep(5)
    arena.system.start_part("valkey")
    arena.heal()
    done = ended(queries, job.id)
    assert (done.status, done.attempt, done.fence) == (JobState.COMPLETED, 1, job.fence)


def test_a_rolling_restart_costs_no_attempt(arena: Arena, queries: JobQueries) -> None:
    # Slow, not held: a storage that is away would cost attempts by itself.
    arena.s3_line.delay(0.5)
    jobs = [post(arena, number, f"roll-{number}") for number in range(3, 7)]
    wait_for(
        lambda: all(queries.get(i).status is JobState.PROCESSING for i in jobs), "all at work", 20
    )
    for worker in arena.system.workers:
        arena.system.stop_part(worker)
        arena.system.start_part(worker)
    arena.heal()
    done = [ended(queries, job_id) for job_id in jobs]
    assert {job.status for job in done} == {JobState.COMPLETED}
    ended_attempts = [arena.redis.lrange(keys.attempts(job.id), 0, -1) for job in done]
    assert ended_attempts == [[]] * len(jobs)


def test_the_api_is_killed_and_the_job_goes_on(arena: Arena, queries: JobQueries) -> None:
    job, _ = in_the_middle(arena, queries, 7, "api")
    arena.system.kill_part("api")
    arena.heal()
    arena.system.start_part("api")
    assert ended(queries, job.id).attempt == 1
    assert arena.redis.exists(keys.user_active("api")) == 0
