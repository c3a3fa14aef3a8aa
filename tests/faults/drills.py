"""One fault at a time, many times over, with a clock: ``python -m tests.faults.drills [name …]``.

The soak shows that nothing is lost; this shows how long it takes. Each drill prints one line per
figure. The exit code is 1 when one did not show what it has to.
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
from tests.faults.environment import Arena, wait_for
from tests.faults.helpers import House
from tests.faults.statistics import percentile

#: Jobs whose worker is killed.
KILLED: Final = 60


def worker_killed(house: House) -> None:
    """kill -9 in the middle of jobs: seconds until each runs elsewhere."""
    seconds: list[float] = []
    while len(seconds) < KILLED:
        house.arena.s3_line.hold()
        jobs = [house.post(f"killed-{number}") for number in range(6)]
        wait_for(lambda: house.at_work(jobs) == 6, "all at work", 30)  # noqa: B023
        worker = house.worker_of(jobs[0])
        struck = [job_id for job_id in jobs if house.worker_of(job_id) == worker]
        house.arena.system.kill_component(worker)
        killed = time.monotonic()
        while struck:
            again = [job_id for job_id in struck if house.job(job_id).attempt > 1]
            seconds += [time.monotonic() - killed] * len(again)
            struck = [job_id for job_id in struck if job_id not in again]
            time.sleep(0.02)
        house.arena.heal()
        house.arena.system.start_component(worker)
        house.wait_for_end(jobs)
    p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
    print(f"worker killed: {len(seconds)} jobs at work elsewhere, p50 {p50:.2f} s, p99 {p99:.2f} s")
    assert p50 < 3
    assert p99 < 12


def valkey_away(house: House, outage: float) -> None:
    """Valkey is killed under live jobs and comes back after ``outage`` seconds."""
    house.arena.s3_line.slow(15_000)
    jobs = [house.post(f"valkey-{number}") for number in range(8)]
    wait_for(lambda: house.at_work(jobs) == 8, "all at work", 30)
    fences = [house.job(job_id).fencing_token for job_id in jobs]
    house.arena.system.kill_component("valkey")
    refusals: list[float] = []
    killed = time.monotonic()
    while time.monotonic() - killed < outage:
        started = time.monotonic()
        status = house.try_to_post("meanwhile").status_code
        refusals.append(time.monotonic() - started)
        assert status == 503, status
        time.sleep(0.25)
    house.arena.system.start_component("valkey")
    back = time.monotonic()
    new = house.post_until_taken("afterwards")
    accepted = time.monotonic() - back
    house.arena.heal()
    house.wait_for_end([new])
    ended = time.monotonic() - back
    house.wait_for_end(jobs)
    print(
        f"Valkey away {outage:.0f} s: {len(refusals)} POSTs refused with 503, the slowest after "
        f"{max(refusals):.2f} s; back: a job accepted after {accepted:.1f} s and done after "
        f"{ended:.1f} s, all {len(jobs)} live ones done after {time.monotonic() - back:.1f} s"
    )
    assert [house.job(job_id).fencing_token for job_id in jobs] == fences, (
        "a live job was started twice"
    )
    assert max(refusals) < 2
    assert ended < 10


def storage_away(house: House) -> None:
    """S3 refuses every connection for 60 s in the middle of 20 jobs."""
    house.arena.s3_line.slow(100_000)
    jobs = [house.post(f"storage-{number}") for number in range(20)]
    wait_for(lambda: house.at_work(jobs) >= 12, "all slots at work", 30)
    house.arena.s3_line.refuse()
    time.sleep(60)
    house.arena.heal()
    back = time.monotonic()
    house.wait_for_end(jobs)
    attempts = max(house.job(job_id).attempt for job_id in jobs)
    print(
        f"S3 away 60 s: all of {len(jobs)} jobs completed {time.monotonic() - back:.1f} s "
        f"afterwards, in {attempts} attempts at most"
    )


def rolling_restart(house: House) -> None:
    """SIGTERM and a new process for each worker in turn, while jobs keep coming."""
    house.arena.s3_line.delay(0.05)
    jobs: list[str] = []
    over = threading.Event()

    def load() -> None:
        while not over.wait(0.5):
            jobs.append(house.post(f"rolling-{len(jobs)}"))

    client = threading.Thread(target=load)
    client.start()
    started = time.monotonic()
    for worker in house.arena.system.workers:
        house.arena.system.stop_component(worker)
        house.arena.system.start_component(worker)
    took = time.monotonic() - started
    over.set()
    client.join()
    house.arena.heal()
    house.wait_for_end(jobs, timeout=300)
    lost = sum(house.arena.redis.llen(keys.attempts(job_id)) for job_id in jobs)
    print(f"3 workers restarted in {took:.0f} s under {len(jobs)} jobs: {lost} attempts lost")
    assert lost == 0


def webhook_of_a_killed_worker(house: House) -> None:
    """All workers are killed while one of them posts a webhook."""
    receiver = house.arena.receiver
    receiver.hold()
    job_id = house.post("webhook", callbackUrl=receiver.url)
    wait_for(lambda: receiver.held > 0, "the first post", 60)
    workers = house.arena.system.workers
    for worker in workers:
        house.arena.system.kill_component(worker)
    killed = time.monotonic()
    receiver.let_go()
    for worker in workers:
        house.arena.system.start_component(worker)
    wait_for(lambda: bool(receiver.ids[job_id, "completed"]), "the second post", 120)
    print(
        f"webhook whose worker was killed: delivered by another {time.monotonic() - killed:.0f} s "
        f"later, with {len(receiver.ids[job_id, 'completed'])} id"
    )
    assert receiver.first_tries[job_id] == receiver.ids[job_id, "completed"]


def fair_share(house: House) -> None:
    """One user has a thousand jobs; others come with their first."""
    house.arena.s3_line.delay(0.04)
    crowd = [house.post("hog") for _ in range(1_000)]
    waits, lengths = [], []
    for number in range(10):
        job_id = house.post(f"first-{number}")
        house.wait_for_end([job_id])
        job = house.job(job_id)
        assert job.started_at
        assert job.completed_at
        waits.append((job.started_at - job.created_at) / 1000)
        lengths.append((job.completed_at - job.started_at) / 1000)
    left = sum(house.job(job_id).status is JobState.QUEUED for job_id in crowd)
    print(
        f"fair share: with {left} jobs of one user still waiting, the first jobs of ten others "
        f"waited {percentile(waits, 50):.1f} s (at most {max(waits):.1f} s); a job lasts "
        f"{percentile(lengths, 50):.1f} s (at most {max(lengths):.1f} s)"
    )
    assert left > 100
    assert max(waits) < max(lengths)


DRILLS: Final[dict[str, Callable[[House], None]]] = {
    "worker": worker_killed,
    "valkey-5": lambda house: valkey_away(house, 5),
    "valkey-30": lambda house: valkey_away(house, 30),
    "storage": storage_away,
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
            Arena(Path(state), workers=3, seed=1, MAX_ACTIVE_JOBS="2000") as arena,
            House(arena) as house,
        ):
            try:
                DRILLS[name](house)
            except (AssertionError, httpx.HTTPError) as failure:
                failed = 1
                print(f"{name}: {failure or type(failure).__name__}")
        print(f"  (load average before: {load:.1f})", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
