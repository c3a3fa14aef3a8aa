"""What tests do with a running system: post jobs, find their workers, wait for their end."""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Sequence
from typing import Self

import httpx

from common.job_store.queries import JobQueries
from common.jobs.model import Job
from common.jobs.transitions import JobState
from stack.sample_catalog import SampleFile
from tests.faults.environment import FILES, Environment, wait_for


class JobDriver:
    """Posts jobs. Each requests the files in another order, so that none finds an archive."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._queries = JobQueries(environment.redis)
        self._orders = itertools.permutations(FILES[:8])
        #: The files of each job, in the order of the request.
        self.requested: dict[str, list[SampleFile]] = {}
        self._http = httpx.Client(base_url=environment.system.base_url, timeout=15)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def try_to_post(self, user: str, **members: object) -> httpx.Response:
        order = next(self._orders)
        response = self._http.post(
            "/v1/download/initiate",
            json={"file_ids": [sample.file_id for sample in order], **members},
            headers={"X-User-Id": user},
        )
        if response.status_code == 202:
            self.requested[response.json()["jobId"]] = list(order)
        return response

    def post(self, user: str, **members: object) -> str:
        response = self.try_to_post(user, **members)
        assert response.status_code == 202, response.text
        return str(response.json()["jobId"])

    def post_until_accepted(self, user: str) -> str:
        """Post about ten times a second, for half a minute, and return the job id."""
        taken: list[str] = []

        def accepted() -> bool:
            response = self.try_to_post(user)
            if response.status_code == 202:
                taken.append(str(response.json()["jobId"]))
            return bool(taken)

        wait_for(accepted, "a job to be accepted", 30, every=0.1)
        return taken[0]

    def job(self, job_id: str) -> Job:
        return self._queries.get(job_id)

    def archive(self, job_id: str) -> list[bytes]:
        """Download the archive and return the content of each file."""
        link = self._http.get(f"/v1/download/status/{job_id}").json()["downloadUrl"]
        with zipfile.ZipFile(io.BytesIO(httpx.get(link, timeout=60).content)) as archive:
            return [archive.read(info) for info in archive.infolist()]

    def count_running(self, jobs: Sequence[str]) -> int:
        return sum(self.job(job_id).status is JobState.PROCESSING for job_id in jobs)

    def worker_of(self, job_id: str) -> str:
        """Return the name of the process that runs the job."""
        worker = self.job(job_id).worker
        assert worker is not None
        pid = int(worker.split("-")[-2])
        processes = self.environment.system.processes
        return next(name for name in self.environment.system.workers if processes[name].pid == pid)

    def wait_for_end(self, jobs: Sequence[str], timeout: float = 120) -> list[Job]:
        """Wait until all jobs have ended, and return them. Fail unless all completed."""
        wait_for(lambda: all(self.job(i).terminal for i in jobs), "the end of all jobs", timeout)
        ended = [self.job(job_id) for job_id in jobs]
        failures = [job.failure for job in ended if job.status is not JobState.COMPLETED]
        assert not failures, failures
        return ended
