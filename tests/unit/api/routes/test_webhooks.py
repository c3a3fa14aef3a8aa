"""The caller's webhook secret, and replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from common.job_store.deliveries import Deliveries, DeliveryAttempt, Exchange
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog
from common.settings import SettingError
from common.webhook_signing import WebhookKeys

MASTER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH = "/v1/webhooks/secret"
ALICE = {"X-User-Id": "alice"}


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(webhook_secret=MASTER).test_client()


def test_each_user_has_a_secret(client: FlaskClient) -> None:
    response = client.get(PATH, headers=ALICE)
    assert response.json == {
        "secret": WebhookKeys(MASTER).secret("alice", 1),
        "generation": 1,
        "rotatedAt": None,
        "earlierValidUntil": None,
    }
    assert response.headers["Cache-Control"] == "no-store"
    assert client.get(PATH).json["secret"] != response.json["secret"]


def test_a_rotation_replaces_the_secret_of_one_user(client: FlaskClient) -> None:
    before = client.get(PATH, headers=ALICE).json
    rotated = client.post(f"{PATH}/rotate", json={}, headers=ALICE)
    assert (rotated.status_code, rotated.json["generation"]) == (200, 2)
    assert rotated.json["secret"] != before["secret"]
    assert rotated.json["earlierValidUntil"] > rotated.json["rotatedAt"]
    assert client.get(PATH, headers=ALICE).json == rotated.json
    assert client.get(PATH).json["generation"] == 1


def test_a_secret_that_others_know_ends_at_once(client: FlaskClient) -> None:
    rotated = client.post(f"{PATH}/rotate", json={"overlap": 0}, headers=ALICE)
    assert rotated.json["earlierValidUntil"] is None


@pytest.mark.parametrize("overlap", [-1, 2_592_001, "1", None])
def test_an_invalid_overlap_is_rejected(client: FlaskClient, overlap: Any) -> None:
    response = client.post(f"{PATH}/rotate", json={"overlap": overlap})
    assert (response.status_code, list(response.json["errors"])) == (400, ["overlap"])


def test_without_a_master_secret_there_is_none(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    for response in (client.get(PATH), client.post(f"{PATH}/rotate", json={})):
        assert (response.status_code, response.json["code"]) == (404, "WEBHOOK_SECRET_OFF")


def test_a_malformed_master_secret_stops_the_start(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingError, match="WEBHOOK_SECRET"):
        make_app(webhook_secret="whsec_?")


@pytest.fixture
def delivery(client: FlaskClient, jobs: JobStore, redis: Redis) -> tuple[str, str]:
    """Return the IDs of alice's job and of its webhook, which was rejected."""
    state_log = StateLog(redis, "webhooks", "test")
    state_log.create_group()
    body = {"file_ids": [1], "callbackUrl": "https://example.com/hook"}
    job_id = client.post("/v1/download/initiate", json=body, headers=ALICE).json["jobId"]
    jobs.cancel(job_id)
    deliveries = Deliveries(redis)
    deliveries.schedule([entry for entry in state_log.read(count=10) if entry.job.terminal])
    (claimed,) = deliveries.claim(limit=1, lease=60)
    deliveries.record_attempt(
        claimed,
        "gone",
        DeliveryAttempt(attempt=1, at=0, duration_ms=7, status=410),
        exchange=Exchange(
            attempt=1,
            url="https://example.com",
            request_headers={"webhook-id": claimed.id},
            response_headers={"server": "test"},
        ),
    )
    return job_id, claimed.id


def test_deliveries_show_what_was_sent_and_received(
    client: FlaskClient, delivery: tuple[str, str]
) -> None:
    job_id, webhook_id = delivery
    (shown,) = client.get(f"/v1/download/{job_id}/deliveries").json["deliveries"]
    (attempt,) = shown["attempts"]
    assert attempt["request"] == {
        "url": "https://example.com",
        "headers": {"webhook-id": webhook_id},
    }
    assert attempt["response"] == {"headers": {"server": "test"}}


def test_one_webhook_is_replayed(
    client: FlaskClient, delivery: tuple[str, str], redis: Redis
) -> None:
    job_id, webhook_id = delivery
    response = client.post(f"/v1/download/{job_id}/deliveries/{webhook_id}/replay")
    assert response.status_code == 202
    assert response.json["deliveries"][0]["state"] == "pending"
    (claimed,) = Deliveries(redis).claim(limit=1, lease=60)
    assert claimed.id == webhook_id


def test_an_unknown_webhook_is_not_found(client: FlaskClient, delivery: tuple[str, str]) -> None:
    response = client.post(f"/v1/download/{delivery[0]}/deliveries/msg_1/replay")
    assert (response.status_code, response.json["code"]) == (404, "DELIVERY_NOT_FOUND")


@pytest.mark.usefixtures("delivery")
def test_the_callers_webhooks_since_a_time_are_replayed(client: FlaskClient) -> None:
    path, body = "/v1/webhooks/replay", {"since": "2020-01-01T00:00:00Z"}
    assert client.post(path, json=body).json == {"replayed": 0, "nextSince": None}
    response = client.post(path, json={**body, "state": "failed"}, headers=ALICE)
    assert (response.status_code, response.json["replayed"]) == (202, 0)
    assert client.post(path, json=body, headers=ALICE).json["replayed"] == 1
    later = {"since": "2999-01-01T00:00:00+02:00"}
    assert client.post(path, json=later, headers=ALICE).json["replayed"] == 0


@pytest.mark.parametrize("since", ["yesterday", 5, None])
def test_an_invalid_time_is_rejected(client: FlaskClient, since: Any) -> None:
    response = client.post("/v1/webhooks/replay", json={"since": since})
    assert (response.status_code, list(response.json["errors"])) == (400, ["since"])


def test_replays_count_as_requests_for_new_jobs(make_app: Callable[..., Flask]) -> None:
    client = make_app(create_per_minute_user=1).test_client()
    body = {"since": "2020-01-01T00:00:00Z"}
    statuses = [client.post("/v1/webhooks/replay", json=body).status_code for _ in range(2)]
    assert statuses == [202, 429]
