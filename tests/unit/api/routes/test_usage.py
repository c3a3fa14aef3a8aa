"""Usage: the caller's own, the operators' export, and the erasure of a user."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from api.admin import user_erasure
from api.admin.user_erasure import UserErasure
from api.auth.callers import user_key
from api.dependencies import EXTENSION
from api.job_history import JobHistory
from api.limits.plans import day_end
from api.routes import usage as routes
from api.routes.usage import to_csv
from common.errors import JobNotFound
from common.history.usage import UsageOfDay
from common.job_store.deliveries import Deliveries
from common.job_store.erasure import ErasedCounts, JobErasure
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.state_log import StateLog
from tests.unit.api.conftest import OPERATOR, Worker

TODAY = datetime.now(UTC).date()


def used(owner: str = "alice", day: date = TODAY, **counts: int) -> UsageOfDay:
    zeros = {"jobs": 0, "completed": 0, "failed": 0, "cancelled": 0, "bytes": 0}
    return UsageOfDay(owner=owner, day=day, **{**zeros, **counts})


class History:
    """Stands in for ``HistoryReader``."""

    def __init__(self, rows: list[UsageOfDay]) -> None:
        self._rows = rows

    def usage(
        self, first: date, last: date, *, owner: str | None = None, limit: int
    ) -> list[UsageOfDay]:
        return [
            row for row in self._rows if first <= row.day <= last and owner in (None, row.owner)
        ][:limit]


def with_history(app: Flask, queries: JobQueries, rows: list[UsageOfDay]) -> FlaskClient:
    history = JobHistory(queries, History(rows))
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], job_history=history)
    return app.test_client()


def test_without_plans_and_history_the_limits_of_the_service_are_shown(client: FlaskClient) -> None:
    body = client.get("/v1/download/usage").json
    reset_at = day_end(time.time())
    assert body == {
        "plan": None,
        "limits": {
            "priorities": ["high", "normal", "low"],
            "activeJobs": 5,
            "createsPerMinute": 60,
            "bytesPerDay": None,
            "retention": 86_400,
        },
        "today": {
            "bytes": None,
            "resetAt": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(reset_at)),
        },
        "days": None,
    }


def test_the_plan_and_the_bytes_of_today_are_shown(
    make_app: Callable[..., Flask], worker: Worker
) -> None:
    plans = {"default": {"bytesPerDay": 5000, "priorities": ["low"], "retention": 60}}
    client = make_app(plans=json.dumps(plans)).test_client()
    worker.complete(client.post("/v1/download/initiate", json={"file_ids": [1]}).json["jobId"])
    body = client.get("/v1/download/usage").json
    assert body["plan"] == "default"
    assert body["today"]["bytes"] == 1234
    assert body["limits"] == {
        "priorities": ["low"],
        "activeJobs": 5,
        "createsPerMinute": 60,
        "bytesPerDay": 5000,
        "retention": 60,
    }
    other = client.get("/v1/download/usage", headers={"X-User-Id": "bob"}).json
    assert other["today"]["bytes"] == 0


def test_users_see_only_their_own_days(make_app: Callable[..., Flask], queries: JobQueries) -> None:
    today = datetime.now(UTC).date()
    rows = [
        used(day=today - timedelta(days=30), jobs=9),
        used(day=today - timedelta(days=29), jobs=2, bytes=7),
        used("bob", today, jobs=5),
        used(day=today, jobs=1, failed=1),
    ]
    client = with_history(make_app(), queries, rows)
    path, headers = "/v1/download/usage", {"X-User-Id": "alice"}
    days = client.get(path, headers=headers).json["days"]
    assert [(day["day"], day["jobs"], day["failed"], day["bytes"]) for day in days] == [
        ((today - timedelta(days=29)).isoformat(), 2, 0, 7),
        (today.isoformat(), 1, 1, 0),
    ]
    assert len(client.get(f"{path}?days=1", headers=headers).json["days"]) == 1


@pytest.mark.parametrize("days", ["0", "93", "x", ""])
def test_an_invalid_number_of_days_is_rejected(client: FlaskClient, days: str) -> None:
    response = client.get(f"/v1/download/usage?days={days}")
    assert (response.status_code, list(response.json["errors"])) == (400, ["days"])


def test_operators_export_the_usage_of_all(
    make_app: Callable[..., Flask], queries: JobQueries
) -> None:
    rows = [used("a,b", jobs=1, completed=1, bytes=10), used("zoe", failed=3)]
    client = with_history(make_app(), queries, rows)
    response = client.get(f"/v1/admin/usage.csv?from={TODAY}&to={TODAY}", headers=OPERATOR)
    assert response.status_code == 200
    assert response.mimetype == "text/csv"
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="usage-{TODAY}-{TODAY}.csv"'
    )
    assert list(csv.reader(io.StringIO(response.text))) == [
        ["day", "user", "jobs", "completed", "failed", "cancelled", "bytes"],
        [str(TODAY), "a,b", "1", "1", "0", "0", "10"],
        [str(TODAY), "zoe", "0", "0", "3", "0", "0"],
    ]


@pytest.mark.parametrize("user", ["=1+1", "+1", "-1", "@SUM(1)", "=cmd|'/c calc'!A0"])
def test_a_user_is_never_a_formula(user: str) -> None:
    """OWASP, CSV Injection."""
    rows = list(csv.reader(io.StringIO(to_csv([used(user)]))))
    assert rows[1][1] == f"'{user}"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "from"),
        ("from=2026-01-01", "to"),
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("from=2026-01-01&to=2026-04-04", "to"),
        ("from=yesterday&to=2026-01-01", "from"),
        ("from=0001-01-01&to=9999-12-31", "to"),
    ],
)
def test_an_invalid_range_is_rejected(client: FlaskClient, query: str, field: str) -> None:
    response = client.get(f"/v1/admin/usage.csv?{query}", headers=OPERATOR)
    assert response.status_code == 400
    assert field in response.json["errors"]


def test_an_export_has_a_limited_size(
    make_app: Callable[..., Flask], queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_ROWS", 1)
    client = with_history(make_app(), queries, [used(), used("bob")])
    response = client.get(f"/v1/admin/usage.csv?from={TODAY}&to={TODAY}", headers=OPERATOR)
    assert (response.status_code, list(response.json["errors"])) == (400, ["to"])


def test_an_export_needs_a_history(client: FlaskClient) -> None:
    response = client.get(f"/v1/admin/usage.csv?from={TODAY}&to={TODAY}", headers=OPERATOR)
    assert (response.status_code, response.json["code"]) == (404, "HISTORY_OFF")


def test_a_user_is_erased(client: FlaskClient, worker: Worker, redis: Redis) -> None:
    headers = {"X-User-Id": "team/alice"}

    def create(file_id: int, **more: str) -> str:
        body = {"file_ids": [file_id], **more}
        job: str = client.post("/v1/download/initiate", json=body, headers=headers).json["jobId"]
        return job

    completed, failed, running, queued = (create(number) for number in range(1, 5))
    worker.complete(completed)
    worker.fail(failed)
    worker.claim(running)
    client.post(f"/v1/download/{completed}/links", json={}, headers=headers)
    other = client.post("/v1/download/initiate", json={"file_ids": [1]}).json["jobId"]

    response = client.delete("/v1/admin/users/team/alice", headers=OPERATOR)
    assert response.status_code == 200
    assert response.json == {
        "userId": "team/alice",
        "complete": True,
        "jobs": 4,
        "cancelled": 2,
        "links": 1,
        "archives": 1,
        "history": 0,
    }
    for job_id in (completed, failed, running, queued):
        assert client.get(f"/v1/download/status/{job_id}").status_code == 404
    assert client.get(f"/v1/download/status/{other}").status_code == 200
    left = [key for key in redis.keys("*") if not key.startswith("limit:")]
    assert not [key for key in left if "alice" in key or completed in key or running in key]

    again = client.delete("/v1/admin/users/team/alice", headers=OPERATOR)
    assert again.status_code == 200
    assert set((again.json or {}).values()) == {"team/alice", True, 0}


def test_an_erasure_that_takes_long_is_continued(
    client: FlaskClient, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 5):
        assert post(file_ids=[number]).status_code == 202
    erased, calls = 0, 0
    monkeypatch.setattr(user_erasure, "MAX_SECONDS", 0.0)
    response = client.delete("/v1/admin/users/anonymous", headers=OPERATOR)
    assert (response.status_code, response.json["complete"]) == (202, False)
    assert response.headers["Retry-After"] == "1"
    monkeypatch.setattr(user_erasure, "MAX_SECONDS", 1.5)
    while calls < 10:
        response = client.delete("/v1/admin/users/anonymous", headers=OPERATOR)
        calls, erased = calls + 1, erased + response.json["jobs"]
        if response.status_code == 200:
            break
    assert (response.status_code, erased) == (200, 4)


def test_the_time_of_an_erasure_is_limited(
    redis: Redis, jobs: JobStore, post: Callable[..., Any]
) -> None:
    for number in range(1, 6):
        post(file_ids=[number])
    ticks = iter(range(1000))
    # Each look at the clock takes a second.
    slow = UserErasure(
        JobErasure(redis, jobs, clock=lambda: next(ticks) * 0.5),
        None,
        clock=lambda: next(ticks) * 0.5,
    )
    first = slow.erase("anonymous")
    assert not first.is_complete
    assert 0 < first.counts.jobs < 5


def test_erasing_needs_an_operator(client: FlaskClient, post: Callable[..., Any]) -> None:
    job_id = post().json["jobId"]
    response = client.delete("/v1/admin/users/anonymous")
    assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN")
    assert client.get(f"/v1/download/status/{job_id}").status_code == 200


def test_the_webhooks_of_an_erased_user_are_erased(
    redis: Redis, jobs: JobStore, queries: JobQueries, post: Callable[..., Any]
) -> None:
    state_log = StateLog(redis, "webhooks", "test")
    state_log.create_group()
    job = jobs.cancel(post(file_ids=[1], callbackUrl="https://example.com/hook").json["jobId"])
    Deliveries(redis, "webhook").schedule(state_log.read(count=10)[-1:])
    assert redis.keys("webhook:*")
    UserErasure(JobErasure(redis, jobs), None).erase("anonymous")
    assert redis.keys("webhook*") == []
    with pytest.raises(JobNotFound):
        queries.get(job.id)


def test_jobs_of_other_users_are_never_erased(
    redis: Redis, jobs: JobStore, queries: JobQueries, post: Callable[..., Any]
) -> None:
    job_id = post().json["jobId"]
    jobs.cancel(job_id)
    counts = ErasedCounts()
    JobErasure(redis, jobs).erase("mallory", [job_id], counts, time.monotonic() + 5)
    assert counts == ErasedCounts()
    assert queries.get(job_id).user == "anonymous"


@pytest.mark.parametrize(
    "user",
    ["line\n", "a\nb", "\n", "/first", "last/", "a//b", " ", "..", "%", "Lövelace", "?#"],
)
def test_a_user_whose_id_has_any_characters_can_be_erased(client: FlaskClient, user: str) -> None:
    """A subject is a string of any characters (RFC 7519, 2 and 4.1.2)."""
    path = f"/v1/admin/users/{quote(user, safe='')}"
    response = client.delete(path, headers=OPERATOR)
    assert response.status_code == 200, response.json
    assert response.json["userId"] == user_key(user)
