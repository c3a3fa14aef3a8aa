"""Measures the recovery from one fault at a time: ``python -m tests.faults.drills [name …]``.

The soak shows that nothing is lost; the drills show how long recovery takes. Each prints its
results. The exit code is 1 if a result misses its limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from common.job_store import keys
from common.jobs.transitions import JobState
from tests.faults.environment import Environment, wait_for
from tests.faults.helpers import JobDriver
from tests.faults.statistics import percentile

#: Number of jobs whose worker is killed.
KILLED_JOBS: Final = 60


def kill_a_worker(driver: JobDriver) -> None:
    """Kill workers that run jobs; measure the seconds until each job runs on another worker."""
    seconds: list[float] = []
    while len(seconds) < KILLED_JOBS:
        driver.environment.s3_tcp_proxy.hold()
        jobs = [driver.post(f"killed-{number}") for number in range(6)]
        wait_for(lambda: driver.count_running(jobs) == 6, "all jobs to run", 30)  # noqa: B023
        worker = driver.worker_of(jobs[0])
        affected = [job_id for job_id in jobs if driver.worker_of(job_id) == worker]
        driver.environment.system.kill_component(worker)
        killed = time.monotonic()
        while affected:
            again = [job_id for job_id in affected if driver.job(job_id).attempt > 1]
            seconds += [time.monotonic() - killed] * len(again)
            affected = [job_id for job_id in affected if job_id not in again]
            time.sleep(0.02)
        driver.environment.heal()
        driver.environment.system.start_component(worker)
        driver.wait_for_end(jobs)
    p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
    print(f"worker killed: {len(seconds)} jobs run elsewhere, p50 {p50:.2f} s, p99 {p99:.2f} s")
    assert p50 < 3
    assert p99 < 12


def stop_valkey(driver: JobDriver, outage: float) -> None:
    """Kill Valkey while jobs run, and start it again after ``outage`` seconds."""
    driver.environment.s3_tcp_proxy.slow(15_000)
    jobs = [driver.post(f"valkey-{number}") for number in range(8)]
    wait_for(lambda: driver.count_running(jobs) == 8, "all jobs to run", 30)
    fencing_tokens = [driver.job(job_id).fencing_token for job_id in jobs]
    driver.environment.system.kill_component("valkey")
    rejections: list[float] = []
    killed = time.monotonic()
    while time.monotonic() - killed < outage:
        started = time.monotonic()
        status = driver.try_to_post("meanwhile").status_code
        rejections.append(time.monotonic() - started)
        assert status == 503, status
        time.sleep(0.25)
    driver.environment.system.start_component("valkey")
    back = time.monotonic()
    new = driver.post_until_accepted("afterwards")
    accepted = time.monotonic() - back
    driver.environment.heal()
    driver.wait_for_end([new])
    ended = time.monotonic() - back
    driver.wait_for_end(jobs)
    print(
        f"Valkey stopped for {outage:.0f} s: {len(rejections)} POSTs rejected with 503, the "
        f"slowest after {max(rejections):.2f} s; back: a job accepted after {accepted:.1f} s and "
        f"done after {ended:.1f} s, all {len(jobs)} running ones done after "
        f"{time.monotonic() - back:.1f} s"
    )
    assert [driver.job(job_id).fencing_token for job_id in jobs] == fencing_tokens, (
        "a running job was started twice"
    )
    assert max(rejections) < 2
    assert ended < 10


def refuse_storage(driver: JobDriver) -> None:
    """Reject connections to S3 for 60 s while 20 jobs run."""
    driver.environment.s3_tcp_proxy.slow(100_000)
    jobs = [driver.post(f"storage-{number}") for number in range(20)]
    wait_for(lambda: driver.count_running(jobs) >= 12, "all slots to be busy", 30)
    driver.environment.s3_tcp_proxy.refuse()
    time.sleep(60)
    driver.environment.heal()
    back = time.monotonic()
    driver.wait_for_end(jobs)
    attempts = max(driver.job(job_id).attempt for job_id in jobs)
    print(
        f"S3 unavailable for 60 s: all of {len(jobs)} jobs completed "
        f"{time.monotonic() - back:.1f} s afterwards, in {attempts} attempts at most"
    )
    assert attempts == 1


def rolling_restart(driver: JobDriver) -> None:
    """Restart each worker with SIGTERM while clients post jobs."""
    driver.environment.s3_tcp_proxy.delay(0.05)
    jobs: list[str] = []
    over = threading.Event()

    def load() -> None:
        while not over.wait(0.5):
            jobs.append(driver.post(f"rolling-{len(jobs)}"))

    client = threading.Thread(target=load)
    client.start()
    started = time.monotonic()
    for worker in driver.environment.system.workers:
        driver.environment.system.stop_component(worker)
        driver.environment.system.start_component(worker)
    took = time.monotonic() - started
    over.set()
    client.join()
    driver.environment.heal()
    driver.wait_for_end(jobs, timeout=300)
    lost = sum(driver.environment.redis.llen(keys.attempts(job_id)) for job_id in jobs)
    print(f"3 workers restarted in {took:.0f} s under {len(jobs)} jobs: {lost} attempts lost")
    assert lost == 0


def webhook_of_a_killed_worker(driver: JobDriver) -> None:
    """Kill all workers while one of them posts a webhook."""
    receiver = driver.environment.receiver
    receiver.hold()
    job_id = driver.post("webhook", callbackUrl=receiver.url)
    wait_for(lambda: receiver.held > 0, "the first post", 60)
    workers = driver.environment.system.workers
    for worker in workers:
        driver.environment.system.kill_component(worker)
    killed = time.monotonic()
    receiver.respond()
    for worker in workers:
        driver.environment.system.start_component(worker)
    wait_for(lambda: bool(receiver.ids[job_id, "completed"]), "the second post", 120)
    print(
        f"webhook whose worker was killed: delivered by another {time.monotonic() - killed:.0f} s "
        f"later, with {len(receiver.ids[job_id, 'completed'])} id"
    )
    assert receiver.unanswered_ids[job_id] == receiver.ids[job_id, "completed"]


def fair_share(driver: JobDriver) -> None:
    """Measure the waits of ten users with one job while another user has a thousand."""
    driver.environment.s3_tcp_proxy.delay(0.04)
    clients = [driver.post("hog") for _ in range(1_000)]
    waits, lengths = [], []
    for number in range(10):
        job_id = driver.post(f"first-{number}")
        driver.wait_for_end([job_id])
        job = driver.job(job_id)
        assert job.started_at
        assert job.completed_at
        waits.append((job.started_at - job.created_at) / 1000)
        lengths.append((job.completed_at - job.started_at) / 1000)
    left = sum(driver.job(job_id).status is JobState.QUEUED for job_id in clients)
    print(
        f"fair share: with {left} jobs of one user still waiting, the first jobs of ten others "
        f"waited {percentile(waits, 50):.1f} s (at most {max(waits):.1f} s); a job lasts "
        f"{percentile(lengths, 50):.1f} s (at most {max(lengths):.1f} s)"
    )
    assert left > 100
    assert max(waits) < max(lengths)


DRILLS: Final[dict[str, Callable[[JobDriver], None]]] = {
    "worker": kill_a_worker,
    "valkey-5": lambda driver: stop_valkey(driver, 5),
    "valkey-30": lambda driver: stop_valkey(driver, 30),
    "storage": refuse_storage,
    "rolling": rolling_restart,
    "webhook": webhook_of_a_killed_worker,
    "fair": fair_share,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(DRILLS), help=", ".join(DRILLS))
    failed = 0
    for name in parser.parse_args().names:
        load = os.getloadavg()[0]
        with (
            tempfile.TemporaryDirectory() as state,
            Environment(Path(state), workers=3, seed=1, MAX_ACTIVE_JOBS="2000") as environment,
            JobDriver(environment) as driver,
        ):
            try:
                DRILLS[name](driver)
            except (AssertionError, httpx.HTTPError) as failure:
                failed = 1
                print(f"{name}: {failure or type(failure).__name__}")
        print(f"  (load average before: {load:.1f})", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
