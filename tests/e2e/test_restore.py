"""Backups of the job store and of history, made and restored as docs/upgrading.md describes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from common.history import HistoryReader, open_engine
from common.jobs.transitions import JobState
from stack.postgres import programs
from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System

pytestmark = pytest.mark.timeout(240)

FILES = [sample.file_id for sample in SMALL]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "system", files=SMALL, workers=0)
    with system:
        yield system


def post(system: System, user: str, file_ids: list[int]) -> str:
    response = httpx.post(
        f"{system.base_url}/v1/download/initiate",
        json={"file_ids": file_ids},
        headers={"X-User-Id": user},
        timeout=10,
    )
    job_id: str = response.raise_for_status().json()["jobId"]
    return job_id


def is_ready(system: System) -> bool:
    return httpx.get(f"{system.base_url}/health/ready", timeout=5).status_code == 200


def status(system: System, job_id: str) -> str | None:
    """Return the status of a job; None if the API does not know it."""
    response = httpx.get(f"{system.base_url}/v1/download/status/{job_id}", timeout=10)
    return response.json()["status"] if response.status_code == 200 else None


def wait_until_completed(system: System, *job_ids: str) -> None:
    wait_until(
        lambda: {status(system, job_id) for job_id in job_ids} == {"completed"}, "the jobs", 60
    )


def recorded_versions(system: System, job_id: str) -> list[int]:
    """Return the versions of a job in history, once its end is among them."""
    engine = open_engine(system.env["DATABASE_URL"], timeout=10, size=1)
    found: list[int] = []

    def has_ended() -> bool:
        record = HistoryReader(engine).job_record(job_id)
        if record is None or record.job.status is not JobState.COMPLETED:
            return False
        found[:] = [change["version"] for change in record.changes]
        return True

    try:
        wait_until(has_ended, "history", 60)
    finally:
        engine.dispose()
    return found


def backup_job_store(system: System, target: Path) -> None:
    """Copy the append-only files of the running server, without a rewrite in the middle."""
    with Redis.from_url(system.redis_url, decode_responses=True) as redis:
        percentage = redis.config_get("auto-aof-rewrite-percentage")["auto-aof-rewrite-percentage"]
        redis.config_set("auto-aof-rewrite-percentage", 0)
        wait_until(lambda: not redis.info("persistence")["aof_rewrite_in_progress"], "the rewrite")
        shutil.copytree(system.state / "valkey" / "appendonlydir", target)
        redis.config_set("auto-aof-rewrite-percentage", str(percentage))


def test_jobs_go_on_from_a_backup_of_the_append_only_file(system: System, tmp_path: Path) -> None:
    worker = system.add_worker()
    completed = post(system, "alice", FILES[:2])
    wait_until_completed(system, completed)
    system.stop_component(worker)
    waiting = [post(system, f"user-{number}", FILES[number : number + 2]) for number in range(4)]

    backup_job_store(system, tmp_path / "backup")
    after_the_backup = post(system, "bob", FILES[3:5])

    # The machine and its disk are lost.
    system.kill_component("valkey")
    shutil.rmtree(system.state / "valkey")
    (system.state / "valkey").mkdir()
    shutil.copytree(tmp_path / "backup", system.state / "valkey" / "appendonlydir")
    system.start_component("valkey")
    wait_until(
        lambda: httpx.get(f"{system.base_url}/health/ready", timeout=5).status_code == 200,
        "the API",
    )

    assert status(system, completed) == "completed"
    link = httpx.get(f"{system.base_url}/v1/download/{completed}", timeout=10)
    assert httpx.get(link.headers["Location"], timeout=10).status_code == 200
    assert {status(system, job_id) for job_id in waiting} == {"queued"}
    # What came after the backup is lost; its user can post it again.
    assert status(system, after_the_backup) is None
    system.add_worker()
    wait_until_completed(system, *waiting, post(system, "bob", FILES[3:5]))


def test_history_goes_on_from_a_dump_of_the_database(system: System, tmp_path: Path) -> None:
    worker = system.add_worker()
    old = post(system, "alice", FILES[:2])
    wait_until_completed(system, old)
    before = recorded_versions(system, old)
    dump = tmp_path / "history.dump"
    url = system.env["DATABASE_URL"]
    run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={url}")

    system.stop_component(worker)
    lost = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
    run("psql", "--quiet", f"--command={lost}", f"--dbname={url}")
    run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", str(dump))

    system.add_worker()
    new = post(system, "alice", FILES[2:4])
    wait_until_completed(system, new)
    assert recorded_versions(system, new)
    # Entries that history had already acknowledged do not come twice.
    assert recorded_versions(system, old) == before


def run(program: str, *arguments: str) -> str:
    """Run a program of the PostgreSQL that the tests use."""
    done = subprocess.run(
        [str(programs() / "bin" / program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
