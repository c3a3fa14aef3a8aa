"""People who ask for files, watch the job in one of three ways, and download the archive.

Run by ``make load``; or by itself: ``locust -f bench/locustfile.py --host http://127.0.0.1:8080``.
FILE_IDS are the files to ask for, MAX_ACCEPT_MS is the slowest acceptance (p99) that still passes.
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
PATIENCE = 120.0
TERMINAL = ("completed", "failed", "cancelled", "expired")

ACCEPT, DOWNLOAD = "POST initiate", "GET archive"
Job = dict[str, Any]


class Broken(Exception):
    """The service did not keep its word."""


class Person(HttpUser):
    """Asks, watches, downloads, and looks at the files for a moment."""

    abstract = True
    wait_time = between(0.5, 2)
    way: ClassVar[str]

    def on_start(self) -> None:
        self.client.headers["X-User-Id"] = f"load-{uuid.uuid4()}"

    @task
    def get_files(self) -> None:
        job = self.ask()
        began = time.perf_counter()
        try:
            job = self.watch(job)
        except (Broken, RequestException, ValueError) as error:
            self.tell(f"watch by {self.way}", began, error)
        else:
            self.tell(f"watch by {self.way}", began)
            self.download(job)

    def ask(self) -> Job:
        wanted = random.sample(FILE_IDS, random.randint(2, min(5, len(FILE_IDS))))
        answer = self.client.post("/v1/download/initiate", json={"file_ids": wanted}, name=ACCEPT)
        if answer.status_code != 202:
            raise StopUser
        return dict(answer.json())

    def watch(self, job: Job) -> Job:
        """The completed job. Raises ``Broken``."""
        until = time.monotonic() + PATIENCE
        for newer in self.snapshots(job):
            if newer["version"] < job["version"]:
                raise Broken("a version went back")
            if newer["progress"] < job["progress"] and newer["attempt"] == job["attempt"]:
                raise Broken("the progress went back")
            job = newer
            if job["status"] == "completed":
                return job
            if job["status"] in TERMINAL:
                raise Broken(f"the job ended as {job['status']}: {job['errorCode']}")
            if time.monotonic() > until:
                raise Broken("the job took too long")
        raise Broken("the updates ended before the job")

    def snapshots(self, job: Job) -> Iterator[Job]:
        """The job as it changes."""
        raise NotImplementedError

    def status(self, job: Job, query: str = "") -> Job:
        path = f"/v1/download/status/{job['jobId']}{query}"
        answer = self.client.get(path, name=f"GET status ({self.way})")
        return dict(answer.json()) if answer.status_code in (200, 410) else job

    def download(self, job: Job) -> None:
        result = self.client.get(
            f"/v1/download/{job['jobId']}",
            headers={"Accept": "application/json"},
            name="GET result",
        ).json()
        with self.client.get(
            result["downloadUrl"], stream=True, name=DOWNLOAD, catch_response=True
        ) as answer:
            head, size = b"", 0
            for piece in answer.iter_content(65_536):
                head = head or piece[:4]
                size += len(piece)
            if head != b"PK\x03\x04":
                answer.failure(f"no ZIP, but status {answer.status_code}")
            elif size != result["fileSize"]:
                answer.failure(f"{size} bytes instead of {result['fileSize']}")
            else:
                answer.success()

    def tell(self, name: str, began: float, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="JOB",
            name=name,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=error,
            context={},
        )


class Polling(Person):
    """Asks again whenever the service advised to."""

    way = "polling"

    def snapshots(self, job: Job) -> Iterator[Job]:
        while True:
            time.sleep(job.get("pollingInterval", 2_000) / 1000)
            yield self.status(job)


class LongPolling(Person):
    """Lets the service hold the answer until something has changed."""

    way = "long poll"

    def snapshots(self, job: Job) -> Iterator[Job]:
        while True:
            job = self.status(job, f"?wait=30&since={job['version']}")
            yield job


class Listening(Person):
    """Server-sent events."""

    way = "events"

    def snapshots(self, job: Job) -> Iterator[Job]:
        began = time.perf_counter()
        opened = self.client.get(
            job["subscribeUrl"], stream=True, name="GET subscribe", timeout=(5, 30)
        )
        with closing(opened) as answer:
            for line in answer.iter_lines():
                if line.startswith(b"data: "):
                    if began:
                        self.tell("first event", began)
                        began = 0.0
                    yield json.loads(line.removeprefix(b"data: "))


@events.quitting.add_listener
def verdict(environment: Environment, **_: Any) -> None:
    """Print what is to be thought of it; exit code 1 when it is not good."""
    stats = environment.stats
    accepted = stats.get(ACCEPT, "POST")
    slowest = accepted.get_response_time_percentile(0.99) or 0.0
    ways = {kind.way: stats.get(f"watch by {kind.way}", "JOB") for kind in Person.__subclasses__()}
    finished = sum(entry.num_requests - entry.num_failures for entry in ways.values())
    checks = {
        f"{accepted.num_requests} jobs were asked for, {finished} seen to their end": finished > 0,
        f"{stats.total.num_failures} of {stats.total.num_requests} calls failed": (
            stats.total.num_failures == 0
        ),
        f"accepting took {slowest:.0f} ms (p99), {MAX_ACCEPT_MS:.0f} ms are allowed": (
            slowest <= MAX_ACCEPT_MS
        ),
        **{
            f"{entry.num_requests} watched by {way}, p95 {percentile(entry):.0f} ms to the end": (
                entry.num_requests > 0 and entry.num_failures == 0
            )
            for way, entry in ways.items()
        },
    }
    print("\nVerdict")
    for what, good in checks.items():
        print(f"  {'ok ' if good else 'BAD'}  {what}")
    environment.process_exit_code = 0 if all(checks.values()) else 1
    print("  ==> the service holds" if all(checks.values()) else "  ==> the service does NOT hold")


def percentile(entry: Any) -> float:
    return float(entry.get_response_time_percentile(0.95) or 0.0)
