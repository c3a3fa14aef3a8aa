"""The Python client and the longhaul command against the whole system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from longhaul_client import ApiProblem, JobUnsuccessful, Longhaul
from longhaul_client.watch import Transport
from stack.components import ROOT
from stack.sample_catalog import MISSING_ID, SMALL
from stack.system import System

IDS = [sample.file_id for sample in SMALL]


def command(
    system: System, *arguments: str, user: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "longhaul_client", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "LONGHAUL_URL": system.base_url,
            "LONGHAUL_USER": user,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("transport", list(Transport))
def test_each_transport_leads_to_the_same_end(longhaul: Longhaul, transport: Transport) -> None:
    job = longhaul.start(IDS)
    snapshots = list(longhaul.watch(job.job_id, transports=[transport]))
    versions = [snapshot.version for snapshot in snapshots]
    assert versions == sorted(set(versions))
    assert snapshots[-1].status == "completed"
    assert (snapshots[-1].progress, snapshots[-1].processed_files) == (100, len(IDS))


def test_the_archive_is_fetched_verified_and_holds_every_file(
    longhaul: Longhaul, tmp_path: Path
) -> None:
    job = longhaul.wait(longhaul.start(IDS).job_id)
    assert job.checksum is not None
    longhaul.download(job, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        contents = [archive.read(member) for member in archive.infolist()]
    assert contents == [sample.make() for sample in SMALL]


def test_a_transfer_that_was_interrupted_goes_on_and_still_verifies(
    longhaul: Longhaul, tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    def interrupt(done: int, size: int) -> None:
        if done > size // 3:
            raise Enough

    job = longhaul.wait(longhaul.start(IDS).job_id)
    with pytest.raises(Enough):
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


def test_an_unknown_job_is_a_problem_with_a_code(longhaul: Longhaul) -> None:
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
    assert [job.job_id for job in longhaul.jobs(most=2)] == started[:1:-1]


def test_a_cancelled_job_stays_cancelled_by_whatever_call(longhaul: Longhaul) -> None:
    job = longhaul.start(IDS)
    longhaul.cancel(job.job_id)
    longhaul.cancel(job.job_id)
    assert longhaul.status(job.job_id).status == "cancelled"


def test_the_command_gets_an_archive_and_prints_its_path(system: System, tmp_path: Path) -> None:
    done = command(system, "get", "10001", "10002", "-o", "out.zip", user="get", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out.zip\n"), done.stderr
    assert len(zipfile.ZipFile(tmp_path / "out.zip").namelist()) == 2


def test_the_command_speaks_json_and_ends_with_1_when_the_job_fails(
    system: System, tmp_path: Path
) -> None:
    done = command(system, "--json", "get", str(MISSING_ID), user="fail", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    listed = command(system, "--json", "jobs", "--status", "failed", user="fail", folder=tmp_path)
    assert json.loads(listed.stdout)["errorCode"] == "FILE_NOT_FOUND"


def test_the_command_shows_the_queue(system: System, tmp_path: Path) -> None:
    done = command(system, "stats", user="stats", folder=tmp_path)
    assert done.returncode == 0
    assert "oldestWaitSeconds" in done.stdout
