"""The fast path for creating jobs responds exactly as Flask does, byte for byte."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import structlog
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from werkzeug.test import Client

from api.dependencies import EXTENSION, FileIdLimits
from api.fast_path.initiate import InitiateFastPath, simple_spec
from api.schemas.requests import INITIATE
from common.job_store import keys
from common.jobs.model import JobSpec, Priority
from common.observability import tracing
from tests.unit.api.auth.test_authorization import bearer
from tests.unit.api.fast_path.conftest import (
    CORS_SETTINGS,
    FAR_FUTURE,
    JWT,
    NOW,
    ORIGIN_HEADERS,
    REQUEST_ID,
    TRACEPARENT,
    Spans,
    described,
)

INITIATE_PATH = "/v1/download/initiate"

Response = tuple[str, list[tuple[str, str]], bytes]


class BothPaths:
    """Two applications, each on an empty job store; one has the fast path in front of it."""

    def __init__(self, make_app: Callable[..., Flask], redis: Redis, patch: Any) -> None:
        self._make = make_app
        self._redis = redis
        self._patch = patch
        #: How many requests the fast path left to Flask.
        self.left_to_flask = 0

    def send(
        self, *requests: dict[str, Any], **settings: Any
    ) -> tuple[list[Response], list[Response]]:
        """Return the responses of the fast path and of Flask to the same requests, in order."""
        return (
            self.send_to_one(requests, settings, fast=True),
            self.send_to_one(requests, settings, fast=False),
        )

    def send_to_one(self, requests: Any, settings: dict[str, Any], *, fast: bool) -> list[Response]:
        self._redis.flushall()
        ids = itertools.count(1)
        self._patch.setattr(
            "common.job_store.keys.new_job_id", lambda _: f"00000000-0000-4000-8000-{next(ids):012}"
        )
        app = self._make(ticket_secret="s", allowed_hosts="files.example", **settings)
        dependencies = app.extensions[EXTENSION]
        self._patch.setattr(dependencies.rate_limiter, "_clock", lambda: NOW)
        client = Client(
            InitiateFastPath(self._counted(app), dependencies, max_body_bytes=1_000)
            if fast
            else app.wsgi_app
        )
        return [self._send(client, dict(request)) for request in requests]

    def _counted(self, app: Flask) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            self.left_to_flask += 1
            return app.wsgi_app(environ, start_response)

        return application

    def _send(self, client: Client, request: dict[str, Any]) -> Response:
        request.setdefault("method", "POST")
        headers = {**REQUEST_ID, **request.pop("headers", {})}
        path = request.pop("path", INITIATE_PATH)
        response = client.open(path, headers=headers, **request)
        body = orjson.loads(response.data) if response.data else {}
        # Only these come from the job store's clock.
        body.pop("createdAt", None), body.pop("updatedAt", None)
        return response.status, list(response.headers), orjson.dumps(body)


@pytest.fixture
def both(
    make_app: Callable[..., Flask], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> BothPaths:
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setattr("time.time_ns", lambda: int(NOW * 1e9))
    return BothPaths(make_app, redis, monkeypatch)


ONE = {"json": {"file_ids": [3, 1, 3]}}

SIMPLE: list[dict[str, Any]] = [
    ONE,
    {"json": {"file_ids": [1], "priority": "high", "metadata": {"a": 1, "b": None, "ü": "ß"}}},
    {**ONE, "path": "/v1/download/async"},
    {**ONE, "base_url": "https://files.example:443"},
    {**ONE, "base_url": "http://files.example:8080"},
    {**ONE, "headers": {"X-User-Id": "bob", "Idempotency-Key": "order 7", "Accept": "text/html"}},
    {**ONE, "headers": {"X-Request-ID": "no good one!" * 20}},
]


@pytest.mark.parametrize("request_", SIMPLE)
def test_response_is_the_same_as_flasks(both: BothPaths, request_: dict[str, Any]) -> None:
    if "X-Request-ID" in request_.get("headers", {}):
        both._patch.setattr("random.getrandbits", lambda _: 7)
    fast, flask = both.send(request_)
    assert fast == flask
    assert fast[0][0] == "202 ACCEPTED"
    assert both.left_to_flask == 0


@pytest.mark.parametrize("cors_origins", CORS_SETTINGS)
def test_cors_headers_are_the_same_for_every_origin(both: BothPaths, cors_origins: str) -> None:
    requests = [
        {"json": {"file_ids": [number]}, "headers": {"X-User-Id": f"user-{number}", **headers}}
        for number, headers in enumerate(ORIGIN_HEADERS, 1)
    ]
    fast, flask = both.send(*requests, cors_origins=cors_origins)
    assert fast == flask
    assert {status for status, _, _ in fast} == {"202 ACCEPTED"}
    assert both.left_to_flask == 0
    names = {name for name, _ in fast[1][1]}
    assert {"Access-Control-Allow-Origin", "Access-Control-Expose-Headers"} < names
    assert (("Vary", "Origin") in fast[1][1]) is (cors_origins != "*")


@pytest.mark.parametrize("traceparent", [None, TRACEPARENT])
def test_span_is_the_same_and_the_job_continues_the_trace(
    both: BothPaths, redis: Redis, spans: Spans, traceparent: str | None
) -> None:
    headers = {"traceparent": traceparent} if traceparent else {}
    requests = [{"json": {"file_ids": [number]}, "headers": headers} for number in (1, 2, 3)]
    seen = []
    for fast in (True, False):
        responses = both.send_to_one(requests, {"create_per_minute_user": 2}, fast=fast)
        assert [status[:3] for status, _, _ in responses] == ["202", "202", "429"]
        ended = spans.take_server_spans()
        for number, span in enumerate(ended[:2], 1):
            job_id = f"00000000-0000-4000-8000-{number:012}"
            context = span.get_span_context()
            assert context
            stored = str(redis.hget(keys.status(job_id), "traceparent"))
            assert stored.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
        seen.append((responses, described(ended)))
    assert seen[0] == seen[1]
    assert [span["name"] for span in seen[0][1]] == ["POST /v1/download/initiate"] * 3
    assert both.left_to_flask == 1
    assert structlog.contextvars.get_contextvars() == {}
    assert tracing.current() is None


def test_public_url_is_in_both_responses(both: BothPaths) -> None:
    fast, flask = both.send(ONE, public_url="https://files.example/")
    assert fast == flask
    assert b'"statusUrl":"https://files.example/v1' in fast[0][2]


def test_repeated_requests_get_the_same_responses(both: BothPaths) -> None:
    keyed = {**ONE, "headers": {"Idempotency-Key": "k"}}
    fast, flask = both.send(keyed, keyed, ONE)
    assert fast == flask
    assert dict(fast[1][1])["Idempotent-Replayed"] == "true"
    assert b'"deduplicated":true' in fast[2][2]
    assert both.left_to_flask == 0


def test_caller_is_the_subject_of_the_token(both: BothPaths) -> None:
    callers = [
        bearer("alice", exp=FAR_FUTURE),
        bearer("alice", exp=FAR_FUTURE),
        bearer("bob", exp=FAR_FUTURE),
        bearer("alice", exp=1),
        bearer("alice", exp=FAR_FUTURE, aud="another"),
        {},
        {"X-User-Id": "alice"},
    ]
    requests = ({**ONE, "headers": {**caller, "Origin": "https://a.example"}} for caller in callers)
    fast, flask = both.send(*requests, **JWT, cors_origins="https://a.example")
    assert fast == flask
    assert [status[:3] for status, _, _ in fast] == [
        "202",
        "202",
        "202",
        "401",
        "401",
        "401",
        "401",
    ]
    assert both.left_to_flask == 4


OTHER = [{"json": {"file_ids": [number]}} for number in range(1, 9)]
REJECTED: list[tuple[dict[str, Any], list[dict[str, Any]], str]] = [
    ({"create_per_minute_user": 2}, OTHER, "RATE_LIMIT_EXCEEDED"),
    ({"create_per_minute_ip": 2}, OTHER, "RATE_LIMIT_EXCEEDED"),
    ({"requests_per_minute_ip": 2}, OTHER, "RATE_LIMIT_EXCEEDED"),
    ({}, OTHER, "TOO_MANY_ACTIVE_JOBS"),
    ({"queue_max": 0}, OTHER, "QUEUE_FULL"),
    (
        {},
        [{**request_, "headers": {"Idempotency-Key": "k"}} for request_ in OTHER],
        "IDEMPOTENCY_KEY_REUSED",
    ),
]


@pytest.mark.parametrize(("changes", "requests", "code"), REJECTED)
def test_errors_are_the_same_and_counted_once(
    both: BothPaths, changes: dict[str, Any], requests: list[dict[str, Any]], code: str
) -> None:
    fast, flask = both.send(*requests, **changes)
    assert fast == flask
    assert orjson.loads(fast[-1][2])["code"] == code


def test_unavailable_job_store_is_the_same_problem(
    both: BothPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr("common.job_store.jobs.JobStore.create", unavailable)
    fast, flask = both.send(ONE)
    assert fast == flask
    assert fast[0][0].startswith("503")


JSON = "application/json"

REQUESTS_FOR_FLASK: list[dict[str, Any]] = [
    {**ONE, "headers": {"Prefer": "wait=0"}},
    {**ONE, "headers": {"Idempotency-Key": "é"}},
    {**ONE, "headers": {"X-User-Id": "no name"}},
    {**ONE, "query_string": "x=1"},
    {"data": b'{"file_ids":[1]}', "content_type": "text/plain"},
    {"data": b'{"file_ids":[1', "content_type": "application/json"},
    {"data": b"", "content_type": "application/json"},
    {"json": {"file_ids": [1], "metadata": {"deep": {"er": 1}}}},
    *(
        {"data": b'{"file_ids":[1],"metadata":{"n":%d}}' % number, "content_type": JSON}
        for number in (2**64, -(2**63) - 1, 10**25, 2**64 - 1)
    ),
    {"json": {"file_ids": [1], "fileName": "x.zip"}},
    {"json": {"file_ids": [1], "callbackUrl": "https://example.com/hook"}},
    {"json": {"file_ids": [1], "onMissing": "skip"}},
    {"json": {"file_id": 1}},
    {"json": {"files": [{"file_id": 1, "path": "a/b.txt"}]}},
    {"json": {"files": [{"file_id": 1}]}},
    {"json": {"file_ids": [1], "manifest": True}},
    {"json": {"file_ids": [1] * 600}},
    {**ONE, "method": "PUT"},
    {**ONE, "base_url": "http://[::1]:80"},
    {**ONE, "base_url": "http://evil.example"},
]


@pytest.mark.parametrize("request_", REQUESTS_FOR_FLASK)
def test_anything_else_is_left_to_flask(both: BothPaths, request_: dict[str, Any]) -> None:
    fast, flask = both.send(request_)
    assert fast == flask
    assert both.left_to_flask == 1


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 120) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "file_ids": st.lists(st.integers(-2, 120) | values, max_size=6) | values,
        "priority": st.sampled_from(["low", "normal", "high", "urgent", ""]) | values,
        "metadata": st.dictionaries(st.text(), values, max_size=3) | values,
        "onMissing": st.sampled_from(["fail", "skip"]),
        "files": st.just([{"file_id": 1, "path": "a"}]) | values,
        "manifest": st.booleans() | values,
        "more": values,
    },
)


@given(data=near_misses | values)
def test_simple_spec_is_what_the_schema_returns(data: Any) -> None:
    limits = FileIdLimits(min_id=1, max_id=100, max_count=4)
    spec = simple_spec(data, limits)
    if spec is None:
        return
    app = Flask("schema")
    app.extensions[EXTENSION] = type("Dependencies", (), {"file_ids": limits})
    with app.app_context():
        loaded = INITIATE.load(data)
    assert spec == JobSpec(
        file_ids=loaded["file_ids"],
        # Without plans, the route uses this default.
        priority=loaded["priority"] or Priority.NORMAL,
        on_missing=loaded["onMissing"],
        file_name=loaded["fileName"],
        callback_url=loaded["callbackUrl"],
        metadata=loaded["metadata"],
    )
