"""What a test does with a running system: post jobs, see who works at them, wait for their end."""

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
from stack.sample_catalog import Sample
from tests.faults.environment import FILES, Arena, wait_for


class House:
    """Every job asks for other files, or for the same in another order: no archive is found."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._queries = JobQueries(arena.redis)
        self._orders = itertools.permutations(FILES[:8])
        #: The files of each job, in the order in which they were asked for.
        self.wanted: dict[str, list[Sample]] = {}
        self._http = httpx.Client(base_url=arena.system.base_url, timeout=15)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def try_to_post(self, user: str, **members: object) -> httpx.Response:
        order = next(self._orders)
        answer = self._http.post(
            "/v1/download/initiate",
            json={"file_ids": [sample.file_id for sample in order], **members},
            headers={"X-User-Id": user},
        )
        if answer.status_code == 202:
            self.wanted[answer.json()["jobId"]] = list(order)
        return answer

    def post(self, user: str, **members: object) -> str:
        answer = self.try_to_post(user, **members)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    def post_until_taken(self, user: str) -> str:
        """Try about ten times a second, for half a minute."""
        taken: list[str] = []

        def accepted() -> bool:
            answer = self.try_to_post(user)
            if answer.status_code == 202:
                taken.append(str(answer.json()["jobId"]))
            return bool(taken)

        wait_for(accepted, "a job to be accepted", 30, every=0.1)
        return taken[0]

    def job(self, job_id: str) -> Job:
        return self._queries.get(job_id)

    def archive(self, job_id: str) -> list[bytes]:
        """What the job's link gives, file by file."""
        link = self._http.get(f"/v1/download/status/{job_id}").json()["downloadUrl"]
        with zipfile.ZipFile(io.BytesIO(httpx.get(link, timeout=60).content)) as archive:
            return [archive.read(info) for info in archive.infolist()]

    def at_work(self, jobs: Sequence[str]) -> int:
        return sum(self.job(job_id).status is JobState.PROCESSING for job_id in jobs)

    def worker_of(self, job_id: str) -> str:
        """The name of the process that runs the job."""
        worker = self.job(job_id).worker
        assert worker is not None
        pid = int(worker.split("-")[-2])
        processes = self.arena.system.processes
        return next(name for name in self.arena.system.workers if processes[name].pid == pid)

    def wait_for_end(self, jobs: Sequence[str], timeout: float = 120) -> list[Job]:
        """All of them, completed."""
        wait_for(lambda: all(self.job(i).terminal for i in jobs), "the end of all jobs", timeout)
        ended = [self.job(job_id) for job_id in jobs]
        failures = [job.failure for job in ended if job.status is not JobState.COMPLETED]
        assert not failures, failures
        return ended
