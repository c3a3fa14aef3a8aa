"""The Python client and the longhaul command with the whole system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from longhaul_client import ApiProblem, JobUnsuccessful, Longhaul
from longhaul_client.watch import WatchTransport
from stack.sample_catalog import MISSING_ID, SMALL
from stack.system import System

#: As installed by `make`.
COMMAND = Path(sys.executable).with_name("longhaul")

IDS = [sample.file_id for sample in SMALL]


def run_command(
    system: System, *arguments: str, user: str, directory: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=directory,
        env={**os.environ, "LONGHAUL_URL": system.base_url, "LONGHAUL_USER": user},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("transport", list(WatchTransport))
def test_every_transport_reports_the_completed_job(
    longhaul: Longhaul, transport: WatchTransport
) -> None:
    job = longhaul.start(IDS)
    snapshots = list(longhaul.watch(job.job_id, transports=[transport]))
    versions = [snapshot.version for snapshot in snapshots]
    assert versions == sorted(set(versions))
    assert snapshots[-1].status == "completed"
    assert (snapshots[-1].progress, snapshots[-1].processed_files) == (100, len(IDS))


def test_the_downloaded_archive_contains_every_file(longhaul: Longhaul, tmp_path: Path) -> None:
    job = longhaul.wait(longhaul.start(IDS).job_id)
    assert job.checksum is not None
    longhaul.download(job, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        contents = [archive.read(member) for member in archive.infolist()]
    assert contents == [sample.make() for sample in SMALL]


def test_an_interrupted_download_is_resumed_and_verified(
    longhaul: Longhaul, tmp_path: Path
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(done: int, size: int) -> None:
        if done > size // 3:
            raise Interrupted

    job = longhaul.wait(longhaul.start(IDS).job_id)
    with pytest.raises(Interrupted):
        longhaul.download(job, tmp_path / "out.zip", interrupt)
    first: list[int] = []
    longhaul.download(job, tmp_path / "out.zip", lambda done, _: first.append(done))
    assert job.file_size is not None
    assert first[0] > job.file_size // 3
    assert zipfile.ZipFile(tmp_path / "out.zip").testzip() is None


def test_a_single_file_is_delivered_as_itself(longhaul: Longhaul, tmp_path: Path) -> None:
    job = longhaul.wait(longhaul.start([10003]).job_id)
    longhaul.download(job, tmp_path / "one")
    assert job.file_name == SMALL[2].name
    assert (tmp_path / "one").read_bytes() == SMALL[2].make()


def test_an_unknown_job_raises_job_not_found(longhaul: Longhaul) -> None:
    with pytest.raises(ApiProblem) as caught:
        longhaul.status("00000000-0000-4000-8000-000000000000")
    assert (caught.value.status, caught.value.code) == (404, "JOB_NOT_FOUND")


def test_a_missing_file_fails_the_job_and_can_be_retried(longhaul: Longhaul) -> None:
    job = longhaul.start([IDS[0], MISSING_ID])
    with pytest.raises(JobUnsuccessful) as caught:
        longhaul.wait(job.job_id)
    assert caught.value.job.error_code == "FILE_NOT_FOUND"
    assert longhaul.retry(job.job_id).status == "queued"


def test_jobs_are_listed_newest_first(longhaul: Longhaul) -> None:
    started = [longhaul.start([id_]).job_id for id_ in IDS[:4]]
    assert [job.job_id for job in longhaul.jobs()] == started[::-1]
    assert [job.job_id for job in longhaul.jobs(limit=2)] == started[:1:-1]


def test_cancelling_a_job_twice_leaves_it_cancelled(longhaul: Longhaul) -> None:
    job = longhaul.start(IDS)
    longhaul.cancel(job.job_id)
    longhaul.cancel(job.job_id)
    assert longhaul.status(job.job_id).status == "cancelled"


def test_the_command_downloads_an_archive_and_prints_its_path(
    system: System, tmp_path: Path
) -> None:
    done = run_command(
        system, "get", "10001", "10002", "-o", "out.zip", user="get", directory=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "out.zip\n"), done.stderr
    assert len(zipfile.ZipFile(tmp_path / "out.zip").namelist()) == 2


def test_the_command_prints_json_and_exits_with_1_when_the_job_fails(
    system: System, tmp_path: Path
) -> None:
    done = run_command(system, "--json", "get", str(MISSING_ID), user="fail", directory=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, "failed"), done.stderr
    listed = run_command(
        system, "--json", "jobs", "--status", "failed", user="fail", directory=tmp_path
    )
    assert json.loads(listed.stdout)["errorCode"] == "FILE_NOT_FOUND"


def test_the_command_prints_statistics_of_the_queue(system: System, tmp_path: Path) -> None:
    done = run_command(system, "stats", user="stats", directory=tmp_path)
    assert done.returncode == 0
    assert "oldestWaitSeconds" in done.stdout
