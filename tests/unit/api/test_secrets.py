"""No secret appears in a log, an error, a metric, or the state log, even if requests fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from redis import Redis

from common.job_store import keys
from common.job_store.queries import JobQueries
from common.observability.logs import configure_logging
from common.settings import Settings

SECRETS = {
    "jwt_secret": "a-jwt-secret-that-is-long-enough-0",
    "ticket_secret": "the-link-secret-of-all-tickets",
    "admin_token": "the-token-of-the-operators",
    "webhook_secret": "whsec_c2VjcmV0IGZvciB3ZWJob29rcw==",
    "database_url": "postgresql://user:the-database-password@127.0.0.1:1/x",
}


def test_no_secret_is_exposed(
    make_app: Callable[..., Flask],
    redis: Redis,
    queries: JobQueries,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    default_logging: None,
) -> None:
    configure_logging("DEBUG", Settings(**SECRETS).secrets())
    client = make_app(auth_mode="jwt", **SECRETS).test_client()
    claims = {"sub": "alice", "exp": time.time() + 60}
    token = jwt.encode(claims, SECRETS["jwt_secret"], "HS256")
    good = {"Authorization": f"Bearer {token}"}
    accepted = client.post("/v1/download/initiate", json={"file_id": 1}, headers=good).json
    ticket = accepted["subscribeUrl"].partition("ticket=")[2]
    job = accepted["jobId"]
    bodies = [
        client.get("/v1/download/jobs", headers={"Authorization": f"Bearer {token}x"}).data,
        client.get(f"/v1/download/{job}/stream?ticket={ticket}").data,
        client.get(f"/v1/download/{job}/stream?ticket={ticket}x").data,
        client.get("/v1/admin/dead-letters", headers=good).data,
        client.post("/v1/download/initiate", data=b"{" + token.encode(), headers=good).data,
    ]

    def explode(*_: Any) -> Any:
        raise RuntimeError(f"Bearer {token} and {SECRETS['ticket_secret']} and ?ticket={ticket}")

    monkeypatch.setattr(queries, "get", explode)
    bodies.append(client.get(f"/v1/download/status/{job}", headers=good).data)
    operator = jwt.encode({**claims, "scope": "downloads:admin"}, SECRETS["jwt_secret"], "HS256")
    metrics = client.get("/metrics", headers={"Authorization": f"Bearer {operator}"})
    assert metrics.status_code == 200
    bodies.append(metrics.data)
    state_log = redis.xrange(keys.of_partition("state_log", keys.tag_of_job(job)))
    logs = capfd.readouterr().err
    assert "RuntimeError" in logs
    everything = logs + repr(bodies) + repr(state_log)
    for secret in (*SECRETS.values(), "the-database-password", token, ticket):
        assert secret not in everything
