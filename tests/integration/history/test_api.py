"""The API with history: job lists reach back further than the job store; operators' queries."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError

from api.app import create_app
from api.pagination import encode_cursor
from common.bootstrap import assemble
from common.errors import BackendUnavailable
from common.history import HistoryReader, open_engine
from common.job_store import keys
from common.job_store.jobs import JobStore, Requester
from common.jobs.model import FileReport, Job, JobSpec
from common.settings import Settings
from stack.postgres import Postgres
from stack.process import free_port
from tests.integration.history.test_writer import run
from tests.unit.api.conftest import FakeStorage
from worker.maintenance.history_recorder import HistoryRecorder

OPERATOR = {"Authorization": "Bearer t"}
ALICE = {"X-User-Id": "alice"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def client_on(redis: Redis, engine: Engine | None) -> FlaskClient:
    storage: Any = FakeStorage()
    return create_app(assemble(Settings(admin_token="t"), redis, storage, engine)).test_client()


@pytest.fixture
def client(redis: Redis, engine: Engine) -> FlaskClient:
    return client_on(redis, engine)


def forget(redis: Redis, job: Job) -> None:
    redis.delete(keys.status(job.id))


def listed(client: FlaskClient, **query: Any) -> tuple[list[str], str | None]:
    answer = client.get("/v1/download/jobs", query_string=query, headers=ALICE)
    assert answer.status_code == 200
    return [job["jobId"] for job in answer.json["jobs"]], answer.json["nextCursor"]


def test_a_job_list_continues_with_jobs_that_the_store_has_deleted(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis
) -> None:
    finished = [run(jobs) for _ in range(5)]
    recorder.step()
    for job in finished[::2]:
        forget(redis, job)
    expected = [
        job.id for job in sorted(finished, key=lambda j: (j.created_at, j.id), reverse=True)
    ]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = listed(client, limit=2, **({"cursor": cursor} if cursor else {}))
        found += page
    assert found == expected
    assert listed(client, status="completed")[0] == expected
    assert listed(client, status="failed") == ([], None)


def test_the_store_wins_over_history_that_lags_behind(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis
) -> None:
    finished = run(jobs)
    recorder.step()
    redis.hset(keys.status(finished.id), mapping={"status": "expired"})
    redis.delete(keys.user_jobs("alice"))
    assert listed(client, status="completed") == ([], None)
    assert listed(client)[0] == [finished.id]


def test_a_job_list_works_without_history_while_it_is_unavailable(
    redis: Redis, jobs: JobStore, postgres: Postgres
) -> None:
    away = open_engine(f"postgresql://longhaul@127.0.0.1:{free_port()}/x", timeout=1, size=1)
    client = client_on(redis, away)
    finished = run(jobs)
    assert listed(client)[0] == [finished.id]
    assert client.get("/v1/admin/analytics", headers=OPERATOR).status_code == 503
    checks = client.get("/health").json["checks"]
    assert checks["history"] == "unavailable"
    away.dispose()


def test_history_and_analytics_come_from_the_replica(
    redis: Redis, jobs: JobStore, recorder: HistoryRecorder, engine: Engine
) -> None:
    """The primary cannot be reached here, so every read that went there would fail."""
    finished = run(jobs)
    recorder.step()
    forget(redis, finished)
    primary = open_engine(f"postgresql://longhaul@127.0.0.1:{free_port()}/x", timeout=1, size=1)
    storage: Any = FakeStorage()
    settings = Settings(admin_token="t")
    services = assemble(settings, redis, storage, primary, database_reader=engine)
    client = create_app(services).test_client()
    assert listed(client)[0] == [finished.id]
    for path in ("analytics?hours=2", f"jobs/{finished.id}"):
        assert client.get(f"/v1/admin/{path}", headers=OPERATOR).status_code == 200
    primary.dispose()


@pytest.mark.parametrize("position", [[10**15, "x"], [1, "x"], [1, "\0"]])
def test_an_invalid_cursor_does_not_turn_history_off(
    client: FlaskClient,
    jobs: JobStore,
    recorder: HistoryRecorder,
    redis: Redis,
    position: list[Any],
) -> None:
    job = run(jobs)
    recorder.step()
    forget(redis, job)
    response = client.get(
        "/v1/download/jobs", query_string={"cursor": encode_cursor(position)}, headers=ALICE
    )
    assert response.status_code == 400
    assert listed(client)[0] == [job.id]


def test_only_an_unavailable_database_counts_as_an_outage(
    reader: HistoryReader, engine: Engine
) -> None:
    with pytest.raises(DataError):
        reader.job_record("not a UUID")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO jobs_before"))
    try:
        # The tables exist once a worker has migrated the database.
        with pytest.raises(BackendUnavailable):
            reader.job_record(UNKNOWN)
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE jobs_before RENAME TO jobs"))
    closed = open_engine(f"postgresql://127.0.0.1:{free_port()}/x", timeout=1, size=1)
    with pytest.raises(BackendUnavailable):
        HistoryReader(closed).job_record(UNKNOWN)


def test_operators_see_the_full_record_of_a_deleted_job(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis
) -> None:
    finished = run(jobs)
    recorder.step()
    forget(redis, finished)
    story = client.get(f"/v1/admin/jobs/{finished.id}", headers=OPERATOR).json
    assert (story["job"]["jobId"], story["job"]["status"]) == (finished.id, "completed")
    assert [change["status"] for change in story["changes"]][-1] == "completed"
    assert [attempt["errorCode"] for attempt in story["attempts"]] == ["NETWORK_ERROR", None]
    assert [file["file_id"] for file in story["files"]] == [1, 2]
    assert story["changes"][0]["at"] == story["job"]["createdAt"]
    unknown = client.get("/v1/admin/jobs/00000000-0000-4000-8000-000000000000", headers=OPERATOR)
    assert (unknown.status_code, unknown.json["code"]) == (404, "JOB_NOT_FOUND")


def test_operators_see_why_a_job_was_returned_to_the_queue_and_who_cancelled_it(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder, redis: Redis
) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    claim = jobs.claim(job.id, "w1")
    assert claim is not None
    jobs.return_to_queue(claim.lease, reason="The worker is shutting down.")
    claim = jobs.claim(job.id, "w2")
    assert claim is not None
    report = FileReport(file_id=1, state="failed", error_code="NETWORK_ERROR", error="HTTP 500")
    jobs.heartbeat(claim.lease, {}, [report])
    finished = jobs.cancel(job.id, by=Requester(is_operator=True))
    recorder.step()
    forget(redis, finished)
    story = client.get(f"/v1/admin/jobs/{job.id}", headers=OPERATOR).json
    assert [(entry["text"], entry["detail"]) for entry in story["timeline"]] == [
        ("queued", None),
        ("processing", None),
        ("queued", "The worker is shutting down."),
        ("processing", None),
        ("cancelled", "by an operator"),
    ]
    assert [change["reason"] for change in story["changes"]][2] == "The worker is shutting down."
    assert [(file["state"], file["error"]) for file in story["files"]] == [("failed", "HTTP 500")]


def test_operators_see_hourly_statistics(
    client: FlaskClient, jobs: JobStore, recorder: HistoryRecorder
) -> None:
    run(jobs)
    recorder.step()
    hours = client.get("/v1/admin/analytics?hours=2", headers=OPERATOR).json["hours"]
    assert len(hours) == 2
    assert sum(hour["completed"] for hour in hours) == 1
    assert sum(hour["bytes"] for hour in hours) == 500
    assert client.get("/v1/admin/analytics?hours=0", headers=OPERATOR).status_code == 400


def test_without_a_database_history_is_reported_as_disabled(redis: Redis) -> None:
    client = client_on(redis, None)
    answer = client.get("/v1/admin/analytics", headers=OPERATOR)
    assert (answer.status_code, answer.json["code"]) == (404, "HISTORY_OFF")
    assert "DATABASE_URL" in answer.json["detail"]
    health = client.get("/health")
    assert (health.status_code, health.json["checks"]["history"]) == (200, "off")
