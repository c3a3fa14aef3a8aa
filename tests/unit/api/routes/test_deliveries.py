"""Webhook deliveries, and callback URLs that are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from common.job_store.deliveries import Deliveries, DeliveryAttempt
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog


def test_deliveries_show_every_attempt(
    client: FlaskClient, post: Callable[..., Any], jobs: JobStore, redis: Redis
) -> None:
    state_log = StateLog(redis, "webhooks", "test")
    state_log.create_group()
    job_id = post(file_ids=[1], callbackUrl="https://example.com/hook").json["jobId"]
    path = f"/v1/download/{job_id}/deliveries"
    assert client.get(path).json == {"jobId": job_id, "deliveries": []}
    jobs.cancel(job_id)
    deliveries = Deliveries(redis)
    deliveries.schedule([entry for entry in state_log.read(count=10) if entry.job.terminal])
    (delivery,) = deliveries.claim(limit=1, lease=60)
    deliveries.record_attempt(
        delivery, "pending", DeliveryAttempt(attempt=1, at=0, duration_ms=7, error="tls"), delay=5
    )
    (shown,) = client.get(path).json["deliveries"]
    assert shown.pop("nextAttemptAt").endswith("Z")
    assert shown == {
        "webhookId": f"msg_{job_id}_2",
        "type": "download.cancelled",
        "version": 2,
        "state": "pending",
        "attempts": [
            {
                "attempt": 1,
                "at": "1970-01-01T00:00:00.000Z",
                "durationMs": 7,
                "status": None,
                "error": "tls",
                "request": None,
                "response": None,
            }
        ],
    }


def test_deliveries_of_an_unknown_job_are_not_found(client: FlaskClient) -> None:
    response = client.get("/v1/download/00000000-0000-4000-8000-000000000000/deliveries")
    assert (response.status_code, response.json["code"]) == (404, "JOB_NOT_FOUND")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost/", "ftp://example.com/"])
def test_a_private_callback_url_is_rejected(post: Callable[..., Any], url: str) -> None:
    response = post(file_ids=[1], callbackUrl=url)
    assert (response.status_code, response.json["code"]) == (400, "VALIDATION_ERROR")
    assert list(response.json["errors"]) == ["callbackUrl"]


def test_private_callback_urls_can_be_allowed(make_app: Callable[..., Flask]) -> None:
    client = make_app(webhook_allow_private=True).test_client()
    body = {"file_ids": [1], "callbackUrl": "http://127.0.0.1:9/hook"}
    assert client.post("/v1/download/initiate", json=body).status_code == 202
