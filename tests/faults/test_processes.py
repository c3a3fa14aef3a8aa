"""A process is killed or stopped, or its clock jumps, while a job runs, and the job completes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from common.job_store import keys
from common.jobs.model import Job
from tests.faults.environment import Environment, wait_for
from tests.faults.helpers import JobDriver

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobDriver]:
    state = tmp_path_factory.mktemp("environment")
    with Environment(state, workers=2, seed=1) as environment, JobDriver(environment) as driver:
        yield driver


@pytest.fixture
def driver(running: JobDriver) -> Iterator[JobDriver]:
    yield running
    running.environment.heal()


def run_until_held(driver: JobDriver, user: str, **members: object) -> tuple[Job, str]:
    """Return a job that runs and cannot end, and the name of its worker."""
    driver.environment.s3_tcp_proxy.hold()
    job_id = driver.post(user, **members)
    wait_for(lambda: driver.count_running([job_id]) == 1, "the start", 20)
    return driver.job(job_id), driver.worker_of(job_id)


def test_another_worker_runs_the_job_of_a_killed_worker_within_seconds(driver: JobDriver) -> None:
    job, worker = run_until_held(driver, "killed")
    driver.environment.system.kill_component(worker)
    again = wait_for(lambda: driver.job(job.id).attempt == 2, "a second attempt", 12)
    print(f"second attempt after {again:.1f} s")
    assert driver.job(job.id).worker != job.worker
    driver.environment.heal()
    driver.wait_for_end([job.id])
    driver.environment.system.start_component(worker)


def test_a_stopped_worker_loses_its_job_and_its_late_writes_are_rejected(driver: JobDriver) -> None:
    job, worker = run_until_held(driver, "stopped")
    zombie = driver.environment.system.processes[worker]
    zombie.signal(signal.SIGSTOP)
    wait_for(lambda: driver.job(job.id).attempt == 2, "a second attempt", 30)
    driver.environment.heal()
    (done,) = driver.wait_for_end([job.id])
    zombie.signal(signal.SIGCONT)
    time.sleep(3)
    assert driver.job(job.id).version == done.version


def test_a_running_job_is_not_started_twice_when_valkey_is_killed(driver: JobDriver) -> None:
    job, _ = run_until_held(driver, "valkey")
    driver.environment.system.kill_component("valkey")
    started = time.monotonic()
    assert driver.try_to_post("meanwhile").status_code == 503
    assert time.monotonic() - started < 2.5
    time.sleep(5)
    driver.environment.system.start_component("valkey")
    driver.environment.heal()
    (done,) = driver.wait_for_end([job.id])
    assert (done.attempt, done.fencing_token) == (1, job.fencing_token)


def test_a_worker_that_starts_while_the_memory_is_full_runs_the_waiting_jobs(
    driver: JobDriver,
) -> None:
    environment = driver.environment
    workers = environment.system.workers
    for worker in workers:
        environment.system.kill_component(worker)
    jobs = [driver.post(f"full-{number}") for number in range(4)]
    environment.redis.config_set("maxmemory", 1)
    try:
        for worker in workers:
            environment.system.start_component(worker)
        driver.wait_for_end(jobs)
    finally:
        environment.redis.config_set("maxmemory", 0)


def test_a_rolling_restart_uses_no_attempt(driver: JobDriver) -> None:
    # Slow, not held: an outage of the storage would use attempts.
    driver.environment.s3_tcp_proxy.delay(0.5)
    jobs = [driver.post(f"roll-{number}") for number in range(4)]
    wait_for(lambda: driver.count_running(jobs) == 4, "all jobs to run", 20)
    for worker in driver.environment.system.workers:
        driver.environment.system.stop_component(worker)
        driver.environment.system.start_component(worker)
    driver.environment.heal()
    driver.wait_for_end(jobs)
    ended_attempts = [driver.environment.redis.lrange(keys.attempts(i), 0, -1) for i in jobs]
    assert ended_attempts == [[]] * len(jobs)


def test_a_job_completes_although_the_api_is_killed(driver: JobDriver) -> None:
    job, _ = run_until_held(driver, "api")
    driver.environment.system.kill_component("api")
    driver.environment.heal()
    driver.environment.system.start_component("api")
    (done,) = driver.wait_for_end([job.id])
    assert done.attempt == 1
    assert driver.environment.redis.exists(keys.user_active("api")) == 0


def test_after_a_flushall_new_jobs_run_and_their_webhooks_arrive(driver: JobDriver) -> None:
    driver.wait_for_end([driver.post("before")])
    driver.environment.redis.flushall()
    receiver = driver.environment.receiver
    job_id = driver.post_until_accepted("after")
    with_webhook = driver.post("webhook", callbackUrl=receiver.url)
    driver.wait_for_end([job_id, with_webhook])
    wait_for(lambda: bool(receiver.ids[with_webhook, "completed"]), "the webhook", 30)


def test_clocks_that_jump_take_no_job_from_a_live_worker(driver: JobDriver) -> None:
    # Within the 15 minutes that S3 tolerates. Leases last ten seconds.
    job, _ = run_until_held(driver, "clocks")
    for seconds in (600, -600, 0):
        for number, name in enumerate(driver.environment.system.workers):
            driver.environment.shift_clock(name, seconds * (-1) ** number)
        time.sleep(3)
    driver.environment.heal()
    (done,) = driver.wait_for_end([job.id])
    assert (done.attempt, done.fencing_token) == (1, job.fencing_token)
    assert done.completed_at
    assert 0 < done.completed_at - done.created_at < 60_000


def test_corrupted_bytes_of_a_file_reach_no_archive(driver: JobDriver) -> None:
    driver.environment.s3_faults.fail("flip", share=0.04)
    jobs = [driver.post(f"flip-{number}") for number in range(8)]
    driver.wait_for_end(jobs)
    assert driver.environment.s3_faults.injected["flip"] > 2
    driver.environment.heal()
    for job_id in jobs:
        assert driver.archive(job_id) == [sample.make() for sample in driver.requested[job_id]]


def test_a_webhook_is_delivered_although_its_worker_was_killed(driver: JobDriver) -> None:
    receiver, system = driver.environment.receiver, driver.environment.system
    receiver.hold()
    job_id = driver.post("webhook", callbackUrl=receiver.url)
    wait_for(lambda: receiver.held == 1, "the first post", 60)
    workers = system.workers
    for worker in workers:
        system.kill_component(worker)
    receiver.respond()
    for worker in workers:
        system.start_component(worker)
    wait_for(lambda: bool(receiver.ids[job_id, "completed"]), "the second post", 90)
    assert receiver.ids[job_id, "completed"] == receiver.unanswered_ids[job_id]
