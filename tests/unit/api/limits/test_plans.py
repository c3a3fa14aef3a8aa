"""Plans: who may do what, and what PLANS must look like."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from api.limits.plans import InvalidPlans, UserPlan, day_end, load_plans
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.model import Priority
from common.settings import SettingError
from tests.unit.api.auth.test_authorization import SECRET, bearer
from tests.unit.api.conftest import Worker

DEFAULTS = UserPlan(
    name="default",
    priorities=tuple(Priority),
    active_jobs=5,
    creates_per_minute=60,
    bytes_per_day=None,
    weight=1,
    retention=None,
)
PLANS = {
    "default": {"priorities": ["low"], "activeJobs": 1, "createsPerMinute": 3, "retention": 600},
    "pro": {"bytesPerDay": 2000, "activeJobs": 20, "weight": 3},
    "small": {"bytesPerDay": 1000, "createsPerMinute": 50, "priorities": ["normal", "low"]},
}

Post = Callable[..., Any]


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(
        auth_mode="jwt",
        jwt_secret=SECRET,
        jwt_audience="longhaul",
        plans=json.dumps(PLANS),
        request_timeout=0,
        plan_claim="plan",
    ).test_client()


@pytest.fixture
def create(client: FlaskClient) -> Post:
    """Return a function that starts a download with a token that names a plan."""

    def send(plan: Any = None, *, user: str = "alice", **body: Any) -> Any:
        headers = bearer(user, **({} if plan is None else {"plan": plan}))
        body = {"file_ids": [1], **body}
        return client.post("/v1/download/initiate", json=body, headers=headers)

    return send


def jobs_hash(redis: Redis, response: Any) -> dict[str, str]:
    return dict(redis.hgetall(keys.status(response.json["jobId"])))


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.json.get("code", "")


def test_a_plan_limits_the_priorities(create: Post) -> None:
    response = create(priority="high")
    assert refusal(response) == (403, "PRIORITY_NOT_ALLOWED")
    assert response.json["detail"] == "Your plan does not allow the priority high. Use low."
    assert refusal(create(priority="normal")) == (403, "PRIORITY_NOT_ALLOWED")
    assert create("pro", priority="high").status_code == 202


def test_a_request_without_a_priority_gets_one_that_the_plan_allows(
    client: FlaskClient, create: Post
) -> None:
    assert create().json["priority"] == "low"
    assert create("pro", file_ids=[2]).json["priority"] == "normal"
    started = client.post(
        "/v1/download/start", json={"file_id": 7}, headers={**bearer("bob"), "Prefer": "wait=0"}
    )
    assert started.json["priority"] == "low"


@pytest.mark.parametrize("name", ["gold", "", 7, ["pro"], {"a": 1}, "p" * 1_000])
def test_an_unknown_plan_counts_as_the_default_one(create: Post, name: Any) -> None:
    assert refusal(create(name, priority="high")) == (403, "PRIORITY_NOT_ALLOWED")


def test_a_plan_limits_the_active_jobs(create: Post) -> None:
    assert create(file_ids=[1]).status_code == 202
    response = create(file_ids=[2])
    assert refusal(response) == (429, "TOO_MANY_ACTIVE_JOBS")
    assert "1 download in progress" in response.json["detail"]
    for file_id in range(10, 18):  # More than without plans.
        assert create("pro", user="bob", file_ids=[file_id]).status_code == 202


def test_a_plan_limits_the_creates_per_minute(create: Post) -> None:
    for remaining in (2, 1, 0):
        response = create()
        assert response.headers["RateLimit-Limit"] == "3"
        assert response.headers["RateLimit-Remaining"] == str(remaining)
    response = create()
    assert refusal(response) == (429, "RATE_LIMIT_EXCEEDED")
    assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_a_retry_counts_by_the_limits_of_the_plan(
    client: FlaskClient, create: Post, worker: Worker
) -> None:
    job_id = create().json["jobId"]
    worker.fail(job_id)
    path = f"/v1/download/{job_id}/retry"
    response = client.post(path, headers=bearer("alice"))
    assert (response.status_code, response.headers["RateLimit-Limit"]) == (202, "3")
    worker.fail(job_id)
    assert create(file_ids=[2]).status_code == 202
    assert refusal(client.post(path, headers=bearer("alice"))) == (429, "RATE_LIMIT_EXCEEDED")


def test_a_plan_limits_the_active_jobs_of_retries(
    client: FlaskClient, create: Post, worker: Worker
) -> None:
    job_id = create().json["jobId"]
    worker.fail(job_id)
    assert create(file_ids=[2]).status_code == 202
    response = client.post(f"/v1/download/{job_id}/retry", headers=bearer("alice"))
    assert refusal(response) == (429, "TOO_MANY_ACTIVE_JOBS")


def test_completed_bytes_count_against_the_quota_of_the_day(
    client: FlaskClient, create: Post, worker: Worker
) -> None:
    worker.complete(create("pro").json["jobId"])  # 1,234 of 2,000 bytes.
    unfinished = create("pro", file_ids=[3]).json["jobId"]
    failed = create("pro", file_ids=[4]).json["jobId"]
    worker.fail(failed)
    worker.complete(create("pro", file_ids=[2]).json["jobId"])

    response = create("pro", file_ids=[5])
    assert refusal(response) == (429, "QUOTA_EXCEEDED")
    resets_at = day_end(time.time())
    expected = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(resets_at))
    assert response.json["resetAt"] == expected
    assert response.json["retryable"] is True
    assert abs(int(response.headers["Retry-After"]) - (resets_at - time.time())) < 5
    # What runs goes on; what is requested again is found.
    assert create("pro", file_ids=[3]).json["jobId"] == unfinished
    retry = client.post(f"/v1/download/{failed}/retry", headers=bearer("alice", plan="pro"))
    assert refusal(retry) == (429, "QUOTA_EXCEEDED")
    # The bytes are the user's, not the plan's.
    assert create("pro", user="bob").status_code == 202
    worker.complete(unfinished)


def test_a_rejected_request_leaves_nothing_behind(
    create: Post, worker: Worker, redis: Redis
) -> None:
    worker.complete(create("small").json["jobId"])
    assert refusal(create("small", file_ids=[2])) == (429, "QUOTA_EXCEEDED")
    assert redis.hgetall(keys.user_active("alice")) == {}
    assert redis.zcard(keys.user_jobs("alice")) == 1


def test_the_quota_starts_again_on_the_next_day(create: Post, worker: Worker, redis: Redis) -> None:
    worker.complete(create("small").json["jobId"])
    today = int(time.time() // 86_400)
    assert redis.get(keys.user_bytes("alice", today)) == "1234"
    assert 86_400 < redis.ttl(keys.user_bytes("alice", today)) <= 2 * 86_400
    redis.rename(keys.user_bytes("alice", today), keys.user_bytes("alice", today - 1))
    assert create("small", file_ids=[2]).status_code == 202


def test_a_job_counts_once(create: Post, worker: Worker, jobs: JobStore, redis: Redis) -> None:
    """Also if its result is reported again, or if it completes again with more files."""
    from dataclasses import replace

    from common.jobs.model import Progress
    from tests.unit.api.conftest import ARTIFACT

    job_id = create("pro").json["jobId"]
    lease = worker.claim(job_id)
    partial = replace(ARTIFACT, size=100, missing_files=1)
    for _ in range(3):
        jobs.complete(lease, partial, Progress())
    counter = keys.user_bytes("alice", int(time.time() // 86_400))
    assert redis.get(counter) == "100"
    jobs.restart(job_id)
    worker.complete(job_id, replace(ARTIFACT, size=150))
    assert redis.get(counter) == "150"


def test_a_plan_limits_how_long_archives_are_kept(
    create: Post, worker: Worker, redis: Redis
) -> None:
    response = create(expiresIn=601)
    assert refusal(response) == (400, "VALIDATION_ERROR")
    assert response.json["errors"] == {
        "expiresIn": ["Your plan keeps archives for at most 600 seconds."]
    }
    by_plan = worker.complete(create().json["jobId"])
    assert by_plan.completed_at is not None
    assert by_plan.expires_at == by_plan.completed_at + 600_000
    longest = create("pro", user="bob")
    assert jobs_hash(redis, longest).get("expires_in") is None
    shorter = worker.complete(create(expiresIn=60).json["jobId"])
    assert shorter.completed_at is not None
    assert shorter.expires_at == shorter.completed_at + 60_000


def test_without_plans_nothing_is_counted(
    make_app: Callable[..., Flask], worker: Worker, redis: Redis
) -> None:
    client = make_app().test_client()
    job = client.post("/v1/download/initiate", json={"file_ids": [1]}).json
    assert job["priority"] == "normal"
    worker.complete(job["jobId"])
    assert redis.keys("user:bytes:*") == []
    assert redis.hmget(keys.status(job["jobId"]), "plan", "line", "expires_in") == [None] * 3


def test_everybody_has_the_default_plan_without_a_claim(make_app: Callable[..., Flask]) -> None:
    client = make_app(plans=json.dumps(PLANS)).test_client()
    body = {"file_ids": [1], "priority": "high"}
    response = client.post("/v1/download/initiate", json=body)
    assert refusal(response) == (403, "PRIORITY_NOT_ALLOWED")


# What PLANS must look like


def test_members_that_a_plan_does_not_have_are_those_of_the_service() -> None:
    assert load_plans('{"default": {}}', DEFAULTS, archive_ttl=86_400).named(None) == DEFAULTS


def test_plans_can_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plans.json"
    path.write_text(json.dumps(PLANS))
    plan = load_plans(str(path), DEFAULTS, archive_ttl=86_400).named("pro")
    assert (plan.name, plan.weight, plan.bytes_per_day) == ("pro", 3, 2000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/nowhere/plans.json", "PLANS is neither a JSON object nor a readable file"),
        ("{", "PLANS is not valid JSON"),
        ("{}", "PLANS has no plan 'default'"),
        ('{"pro": {}}', "PLANS has no plan 'default'"),
        ('{"default": []}', "PLANS: plan 'default' must be a JSON object"),
        ('{"default": {}, "default": {}}', "PLANS has 'default' twice"),
        ('{"default": {}, "": {}}', "the name of a plan must have"),
        ('{"default": {"price": 7}}', "plan 'default' has an unknown member 'price'"),
        ('{"default": {}, "pro": {"activeJobs": 0}}', "plan 'pro': activeJobs must be a whole"),
        ('{"default": {"activeJobs": null}}', "activeJobs must be a whole number of at least 1"),
        ('{"default": {"activeJobs": true}}', "activeJobs must be"),
        ('{"default": {"createsPerMinute": 1.5}}', "createsPerMinute must be"),
        (
            '{"default": {"bytesPerDay": -1}}',
            "bytesPerDay must be a whole number of at least 1, or",
        ),
        ('{"default": {"weight": 17}}', "weight must be a whole number of 1 to 16"),
        ('{"default": {"retention": 86401}}', "retention must be a whole number of 1 to 86400"),
        ('{"default": {"priorities": []}}', "priorities must be a list of at least one of high"),
        ('{"default": {"priorities": ["urgent"]}}', "priorities must be"),
        ('{"default": {"priorities": "high"}}', "priorities must be"),
        ('{"default": {"priorities": [["high"]]}}', "priorities must be"),
        ("[" * 100_000, "neither a JSON object"),
        ('{"default":' * 100_000, "PLANS is not valid JSON"),
    ],
)
def test_a_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidPlans, match=message):
        load_plans(text, DEFAULTS, archive_ttl=86_400)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plans": '{"default": {"weight": 0}}'}, "plan 'default': weight"),
        ({"plan_claim": "plan"}, "PLAN_CLAIM requires PLANS"),
        ({"plans": '{"default": {}}', "plan_claim": "plan"}, "PLAN_CLAIM requires AUTH_MODE=jwt"),
    ],
)
def test_the_api_does_not_start_with_invalid_plans(
    make_app: Callable[..., Flask], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        make_app(**changes)
