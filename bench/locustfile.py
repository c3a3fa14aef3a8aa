"""Users who request files, watch the job in one of three ways, and download the archive.

Run by ``make load``, or alone: ``locust -f bench/locustfile.py --host http://127.0.0.1:8080``.
FILE_IDS are the files to request; MAX_ACCEPT_MS is the p99 of accepting a job that still passes.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any, ClassVar

from locust import HttpUser, between, events, task
from locust.env import Environment
from locust.exception import StopUser
from requests.exceptions import RequestException

FILE_IDS = [int(i) for i in os.environ.get("FILE_IDS", "10001,10002,10003,10004,10005").split(",")]
MAX_ACCEPT_MS = float(os.environ.get("MAX_ACCEPT_MS", "100"))
#: Seconds that a job may take from request to end.
JOB_TIMEOUT = 120.0
TERMINAL = ("completed", "failed", "cancelled", "expired")

ACCEPT, DOWNLOAD = "POST initiate", "GET archive"
Job = dict[str, Any]


class ContractViolation(Exception):
    """The service did something that its contract rules out."""


class DownloadUser(HttpUser):  # type: ignore[misc]  # locust is not installed for checks
    """Requests files, watches the job, downloads the archive, and pauses."""

    abstract = True
    wait_time = between(0.5, 2)
    way: ClassVar[str]

    def on_start(self) -> None:
        self.client.headers["X-User-Id"] = f"load-{uuid.uuid4()}"

    @task
    def get_files(self) -> None:
        job = self.request_files()
        began = time.perf_counter()
        try:
            job = self.watch(job)
        except (ContractViolation, RequestException, ValueError) as error:
            self.report(f"watch by {self.way}", began, error)
        else:
            self.report(f"watch by {self.way}", began)
            self.download(job)

    def request_files(self) -> Job:
        wanted = random.sample(FILE_IDS, random.randint(2, min(5, len(FILE_IDS))))
        response = self.client.post("/v1/download/initiate", json={"file_ids": wanted}, name=ACCEPT)
        if response.status_code != 202:
            raise StopUser
        return dict(response.json())

    def watch(self, job: Job) -> Job:
        """Watch until the job is completed; return it. Raises ``ContractViolation``."""
        deadline = time.monotonic() + JOB_TIMEOUT
        for newer in self.snapshots(job):
            if newer["version"] < job["version"]:
                raise ContractViolation("a version went back")
            if newer["progress"] < job["progress"] and newer["attempt"] == job["attempt"]:
                raise ContractViolation("the progress went back")
            job = newer
            if job["status"] == "completed":
                return job
            if job["status"] in TERMINAL:
                raise ContractViolation(f"the job ended as {job['status']}: {job['errorCode']}")
            if time.monotonic() > deadline:
                raise ContractViolation("the job took too long")
        raise ContractViolation("the updates ended before the job")

    def snapshots(self, job: Job) -> Iterator[Job]:
        """Yield the job whenever it changes."""
        raise NotImplementedError

    def status(self, job: Job, query: str = "") -> Job:
        path = f"/v1/download/status/{job['jobId']}{query}"
        response = self.client.get(path, name=f"GET status ({self.way})")
        return dict(response.json()) if response.status_code in (200, 410) else job

    def download(self, job: Job) -> None:
        result = self.client.get(
            f"/v1/download/{job['jobId']}",
            headers={"Accept": "application/json"},
            name="GET result",
        ).json()
        with self.client.get(
            result["downloadUrl"], stream=True, name=DOWNLOAD, catch_response=True
        ) as response:
            head, size = b"", 0
            for block in response.iter_content(65_536):
                head = head or block[:4]
                size += len(block)
            if head != b"PK\x03\x04":
                response.failure(f"no ZIP, but status {response.status_code}")
            elif size != result["fileSize"]:
                response.failure(f"{size} bytes instead of {result['fileSize']}")
            else:
                response.success()

    def report(self, name: str, began: float, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="JOB",
            name=name,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=error,
            context={},
        )


class Polling(DownloadUser):
    """Polls at the interval that the service advises."""

    way = "polling"

    def snapshots(self, job: Job) -> Iterator[Job]:
        while True:
            time.sleep(job.get("pollingInterval", 2_000) / 1000)
            yield self.status(job)


class LongPolling(DownloadUser):
    """Lets the service hold the response until the job changes."""

    way = "long poll"

    def snapshots(self, job: Job) -> Iterator[Job]:
        while True:
            job = self.status(job, f"?wait=30&since={job['version']}")
            yield job


class EventStream(DownloadUser):
    """Reads server-sent events."""

    way = "events"

    def snapshots(self, job: Job) -> Iterator[Job]:
        began = time.perf_counter()
        opened = self.client.get(
            job["subscribeUrl"], stream=True, name="GET subscribe", timeout=(5, 30)
        )
        with closing(opened) as response:
            for line in response.iter_lines():
                if line.startswith(b"data: "):
                    if began:
                        self.report("first event", began)
                        began = 0.0
                    yield json.loads(line.removeprefix(b"data: "))


@events.quitting.add_listener
def print_checks(environment: Environment, **_: Any) -> None:
    """Print the checks; the exit code is 1 when one of them fails."""
    stats = environment.stats
    accepted = stats.get(ACCEPT, "POST")
    slowest = accepted.get_response_time_percentile(0.99) or 0.0
    ways = {
        kind.way: stats.get(f"watch by {kind.way}", "JOB") for kind in DownloadUser.__subclasses__()
    }
    finished = sum(entry.num_requests - entry.num_failures for entry in ways.values())
    checks = {
        f"{accepted.num_requests} jobs requested, {finished} watched to their end": finished > 0,
        f"{stats.total.num_failures} of {stats.total.num_requests} calls failed": (
            stats.total.num_failures == 0
        ),
        f"accepting took {slowest:.0f} ms (p99), at most {MAX_ACCEPT_MS:.0f} ms allowed": (
            slowest <= MAX_ACCEPT_MS
        ),
        **{
            f"{entry.num_requests} watched by {way}, p95 {percentile(entry):.0f} ms to the end": (
                entry.num_requests > 0 and entry.num_failures == 0
            )
            for way, entry in ways.items()
        },
    }
    print("\nChecks")
    for what, passed in checks.items():
        print(f"  {'ok    ' if passed else 'FAILED'}  {what}")
    environment.process_exit_code = 0 if all(checks.values()) else 1
    print("\nAll checks passed." if all(checks.values()) else "\nSome checks failed.")


def percentile(entry: Any) -> float:
    return float(entry.get_response_time_percentile(0.95) or 0.0)
