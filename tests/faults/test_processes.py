"""Each process is killed, stopped or lied to in the middle of a job, and the job goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from common.job_store import keys
from common.jobs.model import Job
from tests.faults.environment import Arena, wait_for
from tests.faults.helpers import House

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    state = tmp_path_factory.mktemp("arena")
    with Arena(state, workers=2, seed=1) as arena, House(arena) as house:
        yield house


@pytest.fixture
def house(running: House) -> Iterator[House]:
    yield running
    running.arena.heal()


def in_the_middle(house: House, user: str, **members: object) -> tuple[Job, str]:
    """A job that is at work and cannot end, and the name of the process that does it."""
    house.arena.s3_line.hold()
    job_id = house.post(user, **members)
    wait_for(lambda: house.at_work([job_id]) == 1, "a start", 20)
    return house.job(job_id), house.worker_of(job_id)


def test_a_killed_workers_job_runs_again_elsewhere_at_once(house: House) -> None:
    job, worker = in_the_middle(house, "killed")
    house.arena.system.kill_component(worker)
    again = wait_for(lambda: house.job(job.id).attempt == 2, "a second attempt", 12)
    print(f"again after {again:.1f} s")
    assert house.job(job.id).worker != job.worker
    house.arena.heal()
    house.wait_for_end([job.id])
    house.arena.system.start_component(worker)


def test_a_stopped_worker_loses_its_job_and_its_late_word_is_refused(house: House) -> None:
    job, worker = in_the_middle(house, "stopped")
    zombie = house.arena.system.processes[worker]
    zombie.signal(signal.SIGSTOP)
    wait_for(lambda: house.job(job.id).attempt == 2, "a second attempt", 30)
    house.arena.heal()
    (done,) = house.wait_for_end([job.id])
    zombie.signal(signal.SIGCONT)
    time.sleep(3)
    assert house.job(job.id).version == done.version


def test_valkey_is_killed_and_the_job_at_work_is_not_started_twice(house: House) -> None:
    job, _ = in_the_middle(house, "valkey")
    house.arena.system.kill_component("valkey")
    started = time.monotonic()
    assert house.try_to_post("meanwhile").status_code == 503
    assert time.monotonic() - started < 2.5
    time.sleep(5)
    house.arena.system.start_component("valkey")
    house.arena.heal()
    (done,) = house.wait_for_end([job.id])
    assert (done.attempt, done.fencing_token) == (1, job.fencing_token)


def test_a_rolling_restart_costs_no_attempt(house: House) -> None:
    # Slow, not held: a storage that is away would cost attempts by itself.
    house.arena.s3_line.delay(0.5)
    jobs = [house.post(f"roll-{number}") for number in range(4)]
    wait_for(lambda: house.at_work(jobs) == 4, "all at work", 20)
    for worker in house.arena.system.workers:
        house.arena.system.stop_component(worker)
        house.arena.system.start_component(worker)
    house.arena.heal()
    house.wait_for_end(jobs)
    ended_attempts = [house.arena.redis.lrange(keys.attempts(i), 0, -1) for i in jobs]
    assert ended_attempts == [[]] * len(jobs)


def test_the_api_is_killed_and_the_job_goes_on(house: House) -> None:
    job, _ = in_the_middle(house, "api")
    house.arena.system.kill_component("api")
    house.arena.heal()
    house.arena.system.start_component("api")
    (done,) = house.wait_for_end([job.id])
    assert done.attempt == 1
    assert house.arena.redis.exists(keys.user_active("api")) == 0


def test_clocks_that_jump_apart_take_no_job_from_a_worker_that_lives(house: House) -> None:
    # Up to the quarter of an hour that S3 bears with; each lease lasts ten seconds.
    job, _ = in_the_middle(house, "clocks")
    for seconds in (600, -600, 0):
        for number, name in enumerate(house.arena.system.workers):
            house.arena.shift_clock(name, seconds * (-1) ** number)
        time.sleep(3)
    house.arena.heal()
    (done,) = house.wait_for_end([job.id])
    assert (done.attempt, done.fencing_token) == (1, job.fencing_token)
    assert done.completed_at
    assert 0 < done.completed_at - done.created_at < 60_000


def test_falsified_bytes_of_a_file_reach_no_archive(house: House) -> None:
    house.arena.s3_faults.fail("flip", share=0.04)
    jobs = [house.post(f"flip-{number}") for number in range(8)]
    house.wait_for_end(jobs)
    assert house.arena.s3_faults.injected["flip"] > 2
    house.arena.heal()
    for job_id in jobs:
        assert house.archive(job_id) == [sample.make() for sample in house.wanted[job_id]]


def test_a_webhook_outlives_the_worker_that_was_posting_it(house: House) -> None:
    receiver, system = house.arena.receiver, house.arena.system
    receiver.hold()
    job_id = house.post("webhook", callbackUrl=receiver.url)
    wait_for(lambda: receiver.held == 1, "the first post", 60)
    workers = system.workers
    for worker in workers:
        system.kill_component(worker)
    receiver.let_go()
    for worker in workers:
        system.start_component(worker)
    wait_for(lambda: bool(receiver.ids[job_id, "completed"]), "the second post", 90)
    assert receiver.ids[job_id, "completed"] == receiver.first_tries[job_id]
