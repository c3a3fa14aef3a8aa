"""What it costs a client to follow a long job by polling, counted in bytes on its connection.

The job takes 6 seconds instead of 60, and every ``wait`` a tenth: the number of requests depends
only on their ratio.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.job_store.jobs import JobStore
from common.jobs.model import Artifact, Job, Progress
from tests.support.live_api import Api

SECONDS = 6.0
MAX_REQUESTS = 8
MAX_BYTES = 4096

ARTIFACT = Artifact(bucket="b", key="k", name="n.zip", size=1, content_type="application/zip")


class CountingClient:
    """A client with one connection, which counts its requests and the bytes in both directions."""

    def __init__(self, port: int) -> None:
        self.requests = 0
        self.bytes = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._reader = self._socket.makefile("rb")

    def get(self, path: str) -> dict[str, Any]:
        request = f"GET {path} HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\n\r\n".encode()
        self._socket.sendall(request)
        head = b"".join(iter(self._reader.readline, b"\r\n")) + b"\r\n"
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length, head
        body = self._reader.read(int(length[1]))
        self.requests += 1
        self.bytes += len(request) + len(head) + len(body)
        assert head.startswith(b"HTTP/1.1 200 "), head
        return dict(json.loads(body))

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


@pytest.fixture
def client(api: Api) -> Iterator[CountingClient]:
    client = CountingClient(api.port)
    yield client
    client.close()


@pytest.fixture
def running_job(jobs: JobStore, new_job: Callable[[], Job]) -> Iterator[Job]:
    """A job that makes one percent of progress at a time."""
    job = new_job()
    claim = jobs.claim(job.id, "w")
    assert claim
    stopped = threading.Event()

    def work() -> None:
        for percent in range(1, 101):
            if stopped.wait(SECONDS / 100):
                return
            jobs.heartbeat(claim.lease, {"progress": percent})
        jobs.complete(claim.lease, ARTIFACT, Progress())

    thread = threading.Thread(target=work)
    thread.start()
    yield job
    stopped.set()
    thread.join()


def test_following_the_progress_of_a_60_second_job_is_cheap(
    client: CountingClient, running_job: Job
) -> None:
    """As the example in docs/clients.md does, with ``wait=30``."""
    path = f"/v1/download/status/{running_job.id}?wait=3&fields=status,progress"
    seen = [0]
    state: dict[str, Any] = {"status": "processing", "progress": 0}
    while state["status"] == "processing":
        step = state["progress"] + 20
        goal = f"minProgress={step}" if step < 100 else "until=finished"
        state = client.get(f"{path}&{goal}")
        seen.append(state["progress"])
    print(f"{client.requests} requests, {client.bytes} bytes, progress {seen}")
    assert state == {"status": "completed", "progress": 100}
    assert max(later - before for before, later in itertools.pairwise(seen)) <= 25
    assert client.requests <= MAX_REQUESTS
    assert client.bytes <= MAX_BYTES


def test_waiting_for_the_end_of_a_60_second_job_is_cheaper(
    client: CountingClient, running_job: Job
) -> None:
    """With ``wait=60``, and the whole job in the response."""
    status = "processing"
    while status == "processing":
        status = client.get(f"/v1/download/status/{running_job.id}?wait=6&until=finished")["status"]
    print(f"{client.requests} requests, {client.bytes} bytes")
    assert status == "completed"
    assert client.requests <= 2
    assert client.bytes <= MAX_BYTES
