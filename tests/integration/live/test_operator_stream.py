"""The operators' stream of a real API process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.job_store.worker_registry import WorkerRegistration
from common.jobs.model import Failure
from stack.services import Valkey, start_valkey
from tests.integration.live.conftest import make_job
from tests.support.live_api import OPERATOR, Api, running

PATH = "/v1/admin/stream"
BROKEN = Failure(code="NETWORK_ERROR", message="The connection broke", retryable=True)


class Overviews:
    """The stream's events, one after the other."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        name = ""
        for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                assert name == "overview"
                yield json.loads(line.removeprefix("data: "))


def open_stream(api: Api, timeout: float = 5) -> Any:
    url = f"http://127.0.0.1:{api.port}{PATH}"
    return httpx.stream("GET", url, headers=OPERATOR, timeout=timeout)


def test_stream_begins_with_the_overview_and_sends_changes_within_two_seconds(
    api: Api, valkey: Valkey, jobs: JobStore
) -> None:
    client = open_client(valkey.url, timeout=2, own_connection=True)
    with open_stream(api) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        overviews = iter(Overviews(response))
        before = next(overviews)["statistics"]
        job = make_job(jobs)
        started = time.monotonic()
        changed = next(
            t for t in overviews if t["statistics"]["totalWaiting"] > before["totalWaiting"]
        )
        assert time.monotonic() - started < 2
        assert changed["timestamp"]
        claim = jobs.claim(job.id, "test-worker")
        assert claim is not None
        WorkerRegistration(
            client, "test-worker", slots=2, running=lambda: (job.id,), host="here"
        ).heartbeat()
        workers = next(t["workers"] for t in overviews if t["workers"])
        assert [running["jobId"] for worker in workers for running in worker["jobs"]] == [job.id]
        jobs.fail(claim.lease, BROKEN)
        failed = next(t["failures"] for t in overviews if t["failures"])
        assert (failed[0]["jobId"], failed[0]["errorCode"]) == (job.id, "NETWORK_ERROR")
    client.close()


def test_unchanged_overview_is_sent_with_every_heartbeat(api: Api) -> None:
    with open_stream(api) as response:
        overviews = iter(Overviews(response))
        seen = [next(overviews) for _ in range(3)]
    stamps = [overview["timestamp"] for overview in seen]
    assert stamps == sorted(set(stamps))


def test_caller_who_is_not_an_operator_gets_no_stream(api: Api) -> None:
    url = f"http://127.0.0.1:{api.port}{PATH}"
    response = httpx.get(url)
    assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")


def test_head_request_does_not_open_a_stream(api: Api) -> None:
    response = httpx.head(f"http://127.0.0.1:{api.port}{PATH}", headers=OPERATOR)
    assert (response.status_code, response.content) == (200, b"")


def test_streams_are_limited_and_a_closed_one_makes_room(api: Api) -> None:
    url = f"http://127.0.0.1:{api.port}{PATH}"
    limits = httpx.Limits(max_connections=60)
    with httpx.Client(limits=limits, headers=OPERATOR) as client:
        opened = [client.send(client.build_request("GET", url), stream=True) for _ in range(50)]
        assert {response.status_code for response in opened} == {200}
        rejected = client.get(url)
        assert (rejected.status_code, rejected.headers["Retry-After"]) == (503, "5")
        assert b'longhaul_open_streams{format="operator"} 50.0' in api.get("/metrics", OPERATOR)[2]
        for response in opened:
            response.close()
    with open_stream(api) as response:
        assert response.status_code == 200


def test_stream_ends_when_the_job_store_is_unavailable_and_the_overview_says_why(
    tmp_path: Path,
) -> None:
    store = start_valkey(tmp_path / "valkey")
    with running(Api(store.url, tmp_path / "log")) as api:
        with open_stream(api, timeout=10) as response:
            overviews = iter(Overviews(response))
            next(overviews)
            store.process.kill()
            assert all(overview["statistics"] for overview in overviews)
        url = f"http://127.0.0.1:{api.port}/v1/admin/overview"
        rejected = httpx.get(url, headers=OPERATOR)
        assert (rejected.status_code, rejected.json()["code"]) == (503, "BACKEND_UNAVAILABLE")


def test_stopping_process_ends_the_stream_cleanly(valkey: Valkey, tmp_path: Path) -> None:
    with running(Api(valkey.url, tmp_path / "log")) as api, open_stream(api) as response:
        overviews = iter(Overviews(response))
        next(overviews)
        started = time.monotonic()
        api.process.terminate()
        # A connection that is cut instead of closed would raise here.
        assert all(overview["statistics"] for overview in overviews)
        assert time.monotonic() - started < 3
