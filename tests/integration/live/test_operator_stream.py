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
from tests.support.live_api import Api, running

PATH = "/v1/admin/stream"
BROKEN = Failure(code="NETWORK_ERROR", message="The line is cut", retryable=True)


class Overviews:
    """The stream's events, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        name = ""
        for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                assert name == "overview"
                yield json.loads(line.removeprefix("data: "))


def look(api: Api, timeout: float = 5) -> Any:
    return httpx.stream("GET", f"http://127.0.0.1:{api.port}{PATH}", timeout=timeout)


def test_a_stream_begins_with_the_overview_and_tells_changes_within_two_seconds(
    api: Api, valkey: Valkey, jobs: JobStore
) -> None:
    client = open_client(valkey.url, timeout=2, own_connection=True)
    with look(api) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        told = iter(Overviews(answer))
        before = next(told)["statistics"]
        job = make_job(jobs)
        began = time.monotonic()
        changed = next(t for t in told if t["statistics"]["totalWaiting"] > before["totalWaiting"])
        assert time.monotonic() - began < 2
        assert changed["timestamp"]
        claim = jobs.claim(job.id, "worker-of-the-test")
        assert claim is not None
        WorkerRegistration(
            client, "worker-of-the-test", slots=2, running=lambda: (job.id,), host="here"
        ).heartbeat()
        fleet = next(t["workers"] for t in told if t["workers"])
        assert [at_hand["jobId"] for worker in fleet for at_hand in worker["jobs"]] == [job.id]
        jobs.fail(claim.lease, BROKEN)
        failed = next(t["failures"] for t in told if t["failures"])
        assert (failed[0]["jobId"], failed[0]["errorCode"]) == (job.id, "NETWORK_ERROR")
    client.close()


def test_what_does_not_change_is_told_with_every_heartbeat(api: Api) -> None:
    with look(api) as answer:
        told = iter(Overviews(answer))
        seen = [next(told) for _ in range(3)]
    stamps = [reading["timestamp"] for reading in seen]
    assert stamps == sorted(set(stamps))


def test_who_is_no_operator_gets_no_stream(api: Api) -> None:
    url = f"http://127.0.0.1:{api.port}{PATH}"
    answer = httpx.get(url, headers={"X-Forwarded-For": "192.0.2.7"})
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_a_head_request_opens_nothing(api: Api) -> None:
    answer = httpx.head(f"http://127.0.0.1:{api.port}{PATH}")
    assert (answer.status_code, answer.content) == (200, b"")


def test_streams_are_bounded_and_a_place_is_free_again_when_one_leaves(api: Api) -> None:
    url = f"http://127.0.0.1:{api.port}{PATH}"
    with httpx.Client(limits=httpx.Limits(max_connections=60)) as client:
        opened = [client.send(client.build_request("GET", url), stream=True) for _ in range(50)]
        assert {answer.status_code for answer in opened} == {200}
        refused = httpx.get(url)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert b'longhaul_open_streams{form="operator"} 50.0' in api.get("/metrics")[2]
        for answer in opened:
            answer.close()
    with look(api) as answer:
        assert answer.status_code == 200


def test_the_stream_ends_while_the_store_is_away_and_asking_tells_why(tmp_path: Path) -> None:
    store = start_valkey(tmp_path / "valkey")
    with running(Api(store.url, tmp_path / "log")) as api:
        with look(api, timeout=10) as answer:
            told = iter(Overviews(answer))
            next(told)
            store.process.kill()
            assert all(reading["statistics"] for reading in told)
        refused = httpx.get(f"http://127.0.0.1:{api.port}/v1/admin/overview")
        assert (refused.status_code, refused.json()["code"]) == (503, "BACKEND_UNAVAILABLE")


def test_a_stopping_process_ends_the_stream_cleanly(valkey: Valkey, tmp_path: Path) -> None:
    with running(Api(valkey.url, tmp_path / "log")) as api, look(api) as answer:
        told = iter(Overviews(answer))
        next(told)
        began = time.monotonic()
        api.process.terminate()
        # A connection that is cut instead of closed would raise here.
        assert all(reading["statistics"] for reading in told)
        assert time.monotonic() - began < 3
