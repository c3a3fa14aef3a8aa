"""The API on a real Valkey: responses, round trips, and what happens if Valkey hangs."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from redis.connection import AbstractConnection

from api.app import create_app
from common.bootstrap import assemble
from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.jobs.model import Artifact, Progress
from common.settings import Settings
from stack.services import start_valkey

INITIATE = "/v1/download/initiate"
ARTIFACT = Artifact(bucket="a", key="k", name="n.zip", size=22, content_type="application/zip")


class Links:
    """An object storage that only signs links."""

    def presign_get(self, bucket: str, key: str, **options: Any) -> str:
        return f"https://storage.example/{bucket}/{key}"

    def links_expire_at(self) -> None:
        return None


def api_on(store: Redis) -> tuple[FlaskClient, JobStore]:
    services = assemble(Settings(), store, Links())
    return create_app(services).test_client(), services.jobs


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one with each round trip to the job store."""
    trips: list[int] = []
    send = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, command: Any, check_health: bool = True) -> None:
        trips.append(1)
        send(self, command, check_health)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return trips


def test_a_job_can_be_followed_from_creation_to_download(redis: Redis) -> None:
    client, jobs = api_on(redis)
    job_id = client.post(INITIATE, json={"file_ids": [1, 2]}).json["jobId"]
    claim = jobs.claim(job_id, "w")
    assert claim
    assert client.get(f"/v1/download/status/{job_id}").json["status"] == "processing"
    jobs.complete(claim.lease, ARTIFACT, Progress(processed_files=2))
    assert client.get(f"/v1/download/{job_id}").headers["Location"] == "https://storage.example/a/k"
    statistics = client.get("/v1/download/queue/stats").json
    assert (statistics["completed"], statistics["totalWaiting"]) == (1, 0)
    assert statistics["durations"]["p99"] is not None


def test_creating_a_job_is_one_round_trip(redis: Redis, trips: list[int]) -> None:
    client, _ = api_on(redis)
    client.post(INITIATE, json={"file_id": 1})
    trips.clear()
    assert client.post(INITIATE, json={"file_id": 2}).status_code == 202
    assert len(trips) == 1


def test_a_poll_is_one_round_trip(redis: Redis, trips: list[int]) -> None:
    client, _ = api_on(redis)
    path = "/v1/download/status/" + client.post(INITIATE, json={"file_id": 1}).json["jobId"]
    trips.clear()
    assert client.get(path).status_code == 200
    assert client.get(path, headers={"If-None-Match": '"1"'}).status_code == 304
    assert len(trips) == 2


@pytest.fixture
def private_store(tmp_path: Path) -> Iterator[tuple[Redis, Any]]:
    server = start_valkey(tmp_path)
    store = open_client(server.url, timeout=1.5)
    yield store, server.process
    server.process.signal(signal.SIGCONT)
    store.close()
    server.process.stop()


def test_a_hanging_job_store_is_a_503_within_two_seconds_until_it_recovers(
    private_store: tuple[Redis, Any],
) -> None:
    store, process = private_store
    client, _ = api_on(store)
    job_id = client.post(INITIATE, json={"file_id": 1}).json["jobId"]
    path = f"/v1/download/status/{job_id}"
    process.signal(signal.SIGSTOP)
    for send in (
        lambda: client.get(path),
        lambda: client.post(INITIATE, json={"file_id": 2}),
    ):
        started = time.monotonic()
        response = send()
        assert time.monotonic() - started < 2
        assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")
    process.signal(signal.SIGCONT)
    assert client.get(path).status_code == 200
