"""The overview for operators: workers with their jobs, and failures of all users."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from common.job_store.jobs import JobStore
from common.job_store.queries import FailedJobs
from common.job_store.worker_registry import WorkerRegistration, WorkerRegistry
from tests.unit.api.conftest import OPERATOR, Worker


@pytest.fixture(autouse=True)
def _no_info(monkeypatch: pytest.MonkeyPatch) -> None:
    # fakeredis has no INFO.
    monkeypatch.setattr("common.job_store.worker_registry._run_id", lambda _: "server")


def register(redis: Redis, name: str) -> None:
    WorkerRegistration(redis, name, slots=4, running=lambda: (), host="east").heartbeat()


def test_workers_are_listed_with_the_progress_of_their_jobs(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore, redis: Redis
) -> None:
    job_id = post(headers={"X-User-Id": "ada"}, file_ids=[1, 2]).json["jobId"]
    claim = jobs.claim(job_id, "worker-1")
    assert claim is not None
    jobs.heartbeat(claim.lease, {"progress": 50, "processed_files": 1})
    register(redis, "worker-1")
    register(redis, "worker-2")
    first, second = client.get("/v1/admin/workers", headers=OPERATOR).json["workers"]
    assert (first["workerId"], first["host"], first["slots"]) == ("worker-1", "east", 4)
    assert first["since"].startswith(time.strftime("%Y-%m-%d", time.gmtime()))
    (job,) = first["jobs"]
    assert (job["jobId"], job["userId"], job["progress"]) == (job_id, "ada", 50)
    assert (job["processedFiles"], job["totalFiles"]) == (1, 2)
    assert second["jobs"] == []


def test_a_worker_does_not_list_jobs_that_ended_or_moved_to_another_worker(
    client: FlaskClient, post: Callable[..., Any], worker: Worker, jobs: JobStore, redis: Redis
) -> None:
    ended, moved = (post(file_ids=[number]).json["jobId"] for number in (1, 2))
    worker.complete(ended)
    jobs.claim(moved, "worker-2")
    register(redis, "worker-1")
    (shown,) = client.get("/v1/admin/workers", headers=OPERATOR).json["workers"]
    assert shown["jobs"] == []


def test_registrations_of_other_releases_are_readable(redis: Redis) -> None:
    redis.sadd("workers", "older", "newer")
    said = '"server":"s","connection":1,"slots":2,"running":[]'
    redis.set("worker:{workers}:older", f'{{"name":"older",{said}}}', px=9_000)
    redis.set("worker:{workers}:newer", f'{{"name":"newer","mood":"good",{said}}}', px=9_000)
    assert [(w.name, w.since) for w in WorkerRegistry(redis).registered()] == [
        ("newer", None),
        ("older", None),
    ]


def test_failures_of_all_users_are_listed_newest_first(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    failed = []
    for number in range(1, 6):
        job_id = post(headers={"X-User-Id": f"user-{number}"}, file_ids=[number]).json["jobId"]
        worker.fail(job_id)
        failed.append(job_id)
        time.sleep(0.002)
    failures = client.get("/v1/admin/overview", headers=OPERATOR).json["failures"]
    assert [failure["jobId"] for failure in failures] == failed[::-1]
    assert {failure["errorCode"] for failure in failures} == {"FILE_NOT_FOUND"}
    assert failures[0]["userId"] == "user-5"
    assert failures[0]["completedAt"]


def test_a_failed_job_that_is_retried_is_not_listed_as_a_failure(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    job_id = post(file_ids=[1]).json["jobId"]
    worker.fail(job_id)
    assert client.post(f"/v1/download/{job_id}/retry").status_code == 202
    assert client.get("/v1/admin/overview", headers=OPERATOR).json["failures"] == []


def test_fifty_failures_are_kept_per_partition(
    post: Callable[..., Any], worker: Worker, redis: Redis
) -> None:
    for number in range(1, 54):
        worker.fail(post(file_ids=[number]).json["jobId"])
    (key,) = redis.keys("jobs:failures:*")
    assert redis.zcard(key) == 50
    assert len(FailedJobs(redis).newest(100)) == 50


def test_the_overview_contains_the_queue_statistics(
    client: FlaskClient, post: Callable[..., Any]
) -> None:
    post(file_ids=[1])
    overview = client.get("/v1/admin/overview", headers=OPERATOR).json
    assert overview["statistics"] == client.get("/v1/download/queue/stats").json | {
        "oldestWaitSeconds": overview["statistics"]["oldestWaitSeconds"]
    }
    assert overview["statistics"]["totalWaiting"] == 1
    assert overview["timestamp"]


def test_without_an_event_loop_the_operator_stream_is_unavailable(client: FlaskClient) -> None:
    response = client.get("/v1/admin/stream", headers=OPERATOR)
    assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")
