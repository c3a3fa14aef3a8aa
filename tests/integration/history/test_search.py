"""Operators search the job store and the history as one list."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, func, update

from common.history import HistoryReader, open_engine
from common.history.tables import ATTEMPTS, CHANGES, JOBS
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.filters import JobFilter
from common.jobs.model import Job, JobSpec, Priority
from common.jobs.transitions import JobState
from stack.process import free_port
from tests.integration.history.test_api import OPERATOR, client_on, forget
from tests.integration.history.test_reader import fail
from tests.integration.history.test_writer import run
from worker.maintenance.history_recorder import HistoryRecorder


@pytest.fixture
def client(redis: Redis, engine: Engine) -> FlaskClient:
    return client_on(redis, engine)


def found(client: FlaskClient, **query: Any) -> list[str]:
    response = client.get("/v1/admin/jobs", query_string=query, headers=OPERATOR)
    assert response.status_code == 200, response.json
    assert response.json["history"] == "ok"
    return [job["jobId"] for job in response.json["jobs"]]


def record_all(recorder: HistoryRecorder, engine: Engine, count: int) -> None:
    """Record until the history has so many jobs."""
    while len(HistoryReader(engine).search(JobFilter(), before=None, limit=count)) < count:
        recorder.step()


def newest_first(jobs: list[Job]) -> list[str]:
    ordered = sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True)
    return [job.id for job in ordered]


def test_jobs_of_the_store_and_of_the_history_are_one_list_without_duplicates(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis, engine: Engine
) -> None:
    created = []
    for number in range(12):
        user = f"user-{number % 5}"
        created.append(
            run(jobs, user=user)
            if number % 2
            else jobs.create(user, JobSpec(file_ids=(number,))).job
        )
        time.sleep(0.002)
    record_all(recorder, engine, 12)
    for job in created[1:6:2]:
        forget(redis, job)
    # Not recorded yet.
    created.append(jobs.create("late", JobSpec(file_ids=(1,))).job)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 4}
    while True:
        page = client.get("/v1/admin/jobs", query_string=query, headers=OPERATOR).json
        seen += [job["jobId"] for job in page["jobs"]]
        if not page["nextCursor"]:
            break
        query["cursor"] = page["nextCursor"]
    assert seen == newest_first(created)


def test_the_job_store_is_current_where_the_history_lags(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, engine: Engine
) -> None:
    job = jobs.create("ada", JobSpec(file_ids=(1,))).job
    record_all(recorder, engine, 1)
    jobs.cancel(job.id)
    assert found(client, status="queued") == []
    assert found(client) == [job.id]
    listed = client.get("/v1/admin/jobs", headers=OPERATOR).json["jobs"][0]
    assert listed["status"] == "cancelled"


def test_unfinished_jobs_that_the_job_store_has_lost_are_not_listed(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis, engine: Engine
) -> None:
    jobs.create("ada", JobSpec(file_ids=(1,)))
    finished = run(jobs)
    record_all(recorder, engine, 2)
    redis.flushall()
    assert found(client) == [finished.id]


def test_every_condition_applies_to_the_history(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis, engine: Engine
) -> None:
    completed, failed = run(jobs, user="ada"), fail(jobs, "bob")
    time.sleep(0.002)
    high = jobs.create("bob", JobSpec(file_ids=(3,), priority=Priority.HIGH)).job
    jobs.cancel(high.id)
    record_all(recorder, engine, 3)
    for job in (completed, failed, high):
        forget(redis, job)
    assert found(client, user="ada") == [completed.id]
    assert found(client, status="failed") == [failed.id]
    assert found(client, errorCode="NETWORK_ERROR") == [failed.id]
    assert found(client, priority="high") == [high.id]
    assert found(client, user="bob", priority="normal") == [failed.id]
    assert found(client, q=failed.id) == [failed.id]
    for length in (6, 8, 9, 13, 20, 35):
        assert found(client, q=failed.id[:length]) == [failed.id]
    at = client.get(f"/v1/admin/jobs/{high.id}", headers=OPERATOR).json["job"]["createdAt"]
    assert found(client, **{"from": at}) == [high.id]
    assert found(client, to=at) == newest_first([completed, failed])


def test_the_filter_means_the_same_in_both_places(
    jobs: JobStore, recorder: HistoryRecorder, engine: Engine
) -> None:
    created = [run(jobs), fail(jobs, "ada"), jobs.create("ada", JobSpec(file_ids=(4,))).job]
    record_all(recorder, engine, 3)
    reader = HistoryReader(engine)
    first = created[0]
    for job_filter in (
        JobFilter(user="ada"),
        JobFilter(statuses=frozenset({JobState.FAILED, JobState.QUEUED})),
        JobFilter(statuses=frozenset()),
        JobFilter(error_code="NETWORK_ERROR"),
        JobFilter(priorities=frozenset({Priority.NORMAL, Priority.LOW})),
        JobFilter(priorities=frozenset()),
        JobFilter(created_from=first.created_at + 1),
        JobFilter(created_before=first.created_at + 1),
        JobFilter(id_prefix=first.id[:7]),
        JobFilter(id_prefix=first.id[:12]),
    ):
        expected = newest_first([job for job in created if job_filter.matches(job)])
        jobs_found = reader.search(job_filter, before=None, limit=9)
        assert [job.id for job in jobs_found] == expected, job_filter
        positions = reader.positions(job_filter, limit=9)
        assert positions == [(job.created_at, job.id) for job in jobs_found]


def test_failed_jobs_that_the_store_no_longer_lists_are_retried_by_filter(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis, engine: Engine
) -> None:
    failed, forgotten = fail(jobs, "ada"), fail(jobs, "bob")
    record_all(recorder, engine, 2)
    for job in (failed, forgotten):
        for name in ("failures", "dead_letters"):
            redis.delete(keys.of_partition(name, keys.tag_of_job(job.id)))
    forget(redis, forgotten)
    result = client.post(
        "/v1/admin/job-actions",
        json={"action": "retry", "filter": {"errorCode": "NETWORK_ERROR"}},
        headers=OPERATOR,
    ).json
    assert (result["matched"], result["changed"], result["rejected"]) == (1, 1, [])
    assert found(client, status="queued") == [failed.id]


@pytest.mark.parametrize("within_a_millisecond", [False, True])
def test_the_timeline_contains_every_recorded_change(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis, engine: Engine,
    *, within_a_millisecond: bool,
) -> None:  # fmt: skip
    job = run(jobs)
    record_all(recorder, engine, 1)
    recorder.step()
    if within_a_millisecond:
        with engine.begin() as connection:
            connection.execute(update(CHANGES).values(at=func.now()))
            connection.execute(update(ATTEMPTS).values(ended_at=func.now()))
    forget(redis, job)
    response = client.get(f"/v1/admin/jobs/{job.id}", headers=OPERATOR).json
    assert [entry["text"] for entry in response["timeline"]] == [
        *("queued", "processing", "queued", "processing", "completed")
    ]
    assert response["timeline"][2]["error"] == "The connection broke"
    assert [entry["worker"] for entry in response["timeline"]] == [None, "w1", None, "w2", "w2"]
    assert (response["history"], response["actions"]) == ("ok", [])


def test_the_trace_is_recorded(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis, engine: Engine
) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    job = jobs.create("ada", JobSpec(file_ids=(1,)), traceparent=trace).job
    record_all(recorder, engine, 1)
    forget(redis, job)
    response = client.get(f"/v1/admin/jobs/{job.id}", headers=OPERATOR).json
    assert response["traceId"] == "a" * 32


def test_while_the_history_is_unavailable_the_job_store_is_searched(
    redis: Redis, jobs: JobStore
) -> None:
    engine = open_engine(f"postgresql://127.0.0.1:{free_port()}/x", timeout=1, size=1)
    client = client_on(redis, engine)
    failed = fail(jobs, "ada")
    for _ in range(2):
        response = client.get("/v1/admin/jobs", headers=OPERATOR).json
        assert response["history"] == "unavailable"
        assert [job["jobId"] for job in response["jobs"]] == [failed.id]
    details = client.get(f"/v1/admin/jobs/{failed.id}", headers=OPERATOR)
    assert (details.status_code, details.json["history"]) == (200, "unavailable")
    forget(redis, failed)
    unknown = client.get(f"/v1/admin/jobs/{failed.id}", headers=OPERATOR)
    assert (unknown.status_code, unknown.json["code"]) == (503, "BACKEND_UNAVAILABLE")
    engine.dispose()


def test_a_job_that_left_the_searched_state_does_not_end_the_list(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis, engine: Engine
) -> None:
    completed = [run(jobs, user=f"user-{number}") for number in range(4)]
    record_all(recorder, engine, 4)
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(status="completed"))
    for job in completed[2:]:
        redis.hset(keys.status(job.id), mapping={"status": "expired"})
    newest = newest_first(completed)
    left = {job.id for job in completed[2:]}
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "status": "completed"}
    for _ in range(2):
        page = client.get("/v1/admin/jobs", query_string=query, headers=OPERATOR).json
        seen += [job["jobId"] for job in page["jobs"]]
        query["cursor"] = page["nextCursor"]
    assert query["cursor"] is None
    assert seen == [job_id for job_id in newest if job_id not in left]
