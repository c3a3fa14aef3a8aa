"""The quick way of accepting a job says what Flask would say, byte for byte."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from werkzeug.test import Client

from api.dependencies import EXTENSION, FileIdLimits
from api.fast_path.initiate import InitiateFastPath, simple_spec
from api.schemas.requests import INITIATE
from common.jobs.model import JobSpec
from tests.unit.api.auth.test_authorization import SECRET, bearer

NOW = 1_790_000_000.5
INITIATE_PATH = "/v1/download/initiate"

Told = tuple[str, list[tuple[str, str]], bytes]


class Twins:
    """Two applications, each with a store as good as new; one answers ahead of Flask if it can."""

    def __init__(self, make_app: Callable[..., Flask], redis: Redis, patch: Any) -> None:
        self._make = make_app
        self._redis = redis
        self._patch = patch
        #: How often Flask was asked behind the quick way.
        self.left = 0

    def tell(self, *requests: dict[str, Any], **settings: Any) -> tuple[list[Told], list[Told]]:
        """What both say to the same requests, one after the other."""
        return self._answers(requests, settings, quick=True), self._answers(
            requests, settings, quick=False
        )

    def _answers(self, requests: Any, settings: dict[str, Any], *, quick: bool) -> list[Told]:
        self._redis.flushall()
        ids = itertools.count(1)
        self._patch.setattr(
            "common.job_store.keys.new_job_id", lambda _: f"00000000-0000-4000-8000-{next(ids):012}"
        )
        app = self._make(ticket_secret="s", **settings)
        context = app.extensions[EXTENSION]
        self._patch.setattr(context.rate_limiter, "_clock", lambda: NOW)
        client = Client(
            InitiateFastPath(self._counted(app), context, max_body_bytes=1_000)
            if quick
            else app.wsgi_app
        )
        return [self._told(client, dict(request)) for request in requests]

    def _counted(self, app: Flask) -> Any:
        def application(environ: Any, start: Any) -> Any:
            self.left += 1
            return app.wsgi_app(environ, start)

        return application

    def _told(self, client: Client, request: dict[str, Any]) -> Told:
        request.setdefault("method", "POST")
        headers = {"X-Request-ID": "the-same", **request.pop("headers", {})}
        path = request.pop("path", INITIATE_PATH)
        answer = client.open(path, headers=headers, **request)
        body = orjson.loads(answer.data) if answer.data else {}
        # These alone are the store's clock's.
        body.pop("createdAt", None), body.pop("updatedAt", None)
        return answer.status, list(answer.headers), orjson.dumps(body)


@pytest.fixture
def twins(make_app: Callable[..., Flask], redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Twins:
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setattr("time.time_ns", lambda: int(NOW * 1e9))
    return Twins(make_app, redis, monkeypatch)


ONE = {"json": {"file_ids": [3, 1, 3]}}

PLAIN: list[dict[str, Any]] = [
    ONE,
    {"json": {"file_ids": [1], "priority": "high", "metadata": {"a": 1, "b": None, "ü": "ß"}}},
    {**ONE, "path": "/v1/download/async"},
    {**ONE, "base_url": "https://files.example:443"},
    {**ONE, "base_url": "http://files.example:8080"},
    {**ONE, "headers": {"X-User-Id": "bob", "Idempotency-Key": "order 7", "Accept": "text/html"}},
    {**ONE, "headers": {"X-Request-ID": "no good one!" * 20}},
]


@pytest.mark.parametrize("request_", PLAIN)
def test_quick_answer_is_the_slow_one(twins: Twins, request_: dict[str, Any]) -> None:
    if "X-Request-ID" in request_.get("headers", {}):
        twins._patch.setattr("random.getrandbits", lambda _: 7)
    quick, slow = twins.tell(request_)
    assert quick == slow
    assert quick[0][0] == "202 ACCEPTED"
    assert twins.left == 0


def test_the_public_url_stands_in_both_answers(twins: Twins) -> None:
    quick, slow = twins.tell(ONE, public_url="https://files.example/")
    assert quick == slow
    assert b'"statusUrl":"https://files.example/v1' in quick[0][2]


def test_repeated_requests_get_the_same_answers(twins: Twins) -> None:
    keyed = {**ONE, "headers": {"Idempotency-Key": "k"}}
    quick, slow = twins.tell(keyed, keyed, ONE)
    assert quick == slow
    assert dict(quick[1][1])["Idempotent-Replayed"] == "true"
    assert b'"deduplicated":true' in quick[2][2]
    assert twins.left == 0


def test_the_caller_is_the_tokens_subject_in_both(twins: Twins) -> None:
    token = {"auth_mode": "jwt", "jwt_secret": SECRET, "jwt_audience": "longhaul"}
    late = 9_000_000_000
    callers = [
        bearer("alice", exp=late),
        bearer("bob", exp=late),
        bearer("alice", exp=1),
        {},
        {"X-User-Id": "alice"},
    ]
    quick, slow = twins.tell(*({**ONE, "headers": caller} for caller in callers), **token)
    assert quick == slow
    assert [status[:3] for status, _, _ in quick] == ["202", "202", "401", "401", "401"]
    assert twins.left == 3


OTHER = [{"json": {"file_ids": [number]}} for number in range(1, 9)]
REFUSED: list[tuple[dict[str, Any], list[dict[str, Any]], str]] = [
    ({"create_per_minute_user": 2}, OTHER, "RATE_LIMIT_EXCEEDED"),
    ({"create_per_minute_ip": 2}, OTHER, "RATE_LIMIT_EXCEEDED"),
    ({"requests_per_minute_ip": 2}, OTHER, "RATE_LIMIT_EXCEEDED"),
    ({}, OTHER, "TOO_MANY_ACTIVE_JOBS"),
    ({"queue_max": 0}, OTHER, "QUEUE_FULL"),
    (
        {},
        [{**asked, "headers": {"Idempotency-Key": "k"}} for asked in OTHER],
        "IDEMPOTENCY_KEY_REUSED",
    ),
]


@pytest.mark.parametrize(("changes", "requests", "code"), REFUSED)
def test_refusals_are_the_same_and_counted_once(
    twins: Twins, changes: dict[str, Any], requests: list[dict[str, Any]], code: str
) -> None:
    quick, slow = twins.tell(*requests, **changes)
    assert quick == slow
    assert orjson.loads(quick[-1][2])["code"] == code


def test_a_store_that_is_away_is_the_same_problem(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr("common.job_store.jobs.JobStore.create", away)
    quick, slow = twins.tell(ONE)
    assert quick == slow
    assert quick[0][0].startswith("503")


LEFT_TO_FLASK: list[dict[str, Any]] = [
    {**ONE, "headers": {"Prefer": "wait=0"}},
    {**ONE, "headers": {"Idempotency-Key": "é"}},
    {**ONE, "headers": {"X-User-Id": "no name"}},
    {**ONE, "query_string": "x=1"},
    {"data": b'{"file_ids":[1]}', "content_type": "text/plain"},
    {"data": b'{"file_ids":[1', "content_type": "application/json"},
    {"data": b"", "content_type": "application/json"},
    {"json": {"file_ids": [1], "metadata": {"deep": {"er": 1}}}},
    {"json": {"file_ids": [1], "fileName": "x.zip"}},
    {"json": {"file_ids": [1], "callbackUrl": "https://example.com/hook"}},
    {"json": {"file_ids": [1], "onMissing": "skip"}},
    {"json": {"file_id": 1}},
    {"json": {"file_ids": [1] * 600}},
    {**ONE, "method": "PUT"},
    {**ONE, "base_url": "http://[::1]:80"},
]


@pytest.mark.parametrize("request_", LEFT_TO_FLASK)
def test_anything_else_is_left_to_flask(twins: Twins, request_: dict[str, Any]) -> None:
    quick, slow = twins.tell(request_)
    assert quick == slow
    assert twins.left == 1


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
        "more": values,
    },
)


@given(data=near_misses | values)
def test_what_is_plain_is_what_the_schema_makes_of_it(data: Any) -> None:
    rules = FileIdLimits(min_id=1, max_id=100, max_count=4)
    spec = simple_spec(data, rules)
    if spec is None:
        return
    app = Flask("rules")
    app.extensions[EXTENSION] = type("Rules", (), {"file_ids": rules})
    with app.app_context():
        asked = INITIATE.load(data)
    assert spec == JobSpec(
        file_ids=asked["file_ids"],
        priority=asked["priority"],
        on_missing=asked["onMissing"],
        file_name=asked["fileName"],
        callback_url=asked["callbackUrl"],
        metadata=asked["metadata"],
    )
