"""The fast path for status polls responds exactly as Flask does, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
import structlog
from flask import Flask
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from werkzeug.test import Client

from api.dependencies import EXTENSION
from api.fast_path.status import StatusFastPath
from common.errors import BackendUnavailable, JobNotFound
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.model import Failure, Job, JobSpec, Progress, QueuePlace
from tests.unit.api.auth.test_authorization import bearer
from tests.unit.api.conftest import ARTIFACT
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

FAILURE = Failure(code="NETWORK_ERROR", message="It broke", retryable=True)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

Response = tuple[str, list[tuple[str, str]], bytes]


def queued(jobs: JobStore) -> Job:
    spec = JobSpec(file_ids=(1, 2), metadata={"name": "Überfahrt", "deep": [1, None]})
    return jobs.create("alice", spec).job


def running(jobs: JobStore) -> Job:
    claim = jobs.claim(queued(jobs).id, "w")
    assert claim
    jobs.heartbeat(claim.lease, {"progress": 40, "seconds_remaining": "2.5", "total_bytes": 9})
    return claim.job


def completed(jobs: JobStore) -> Job:
    claim = jobs.claim(queued(jobs).id, "w")
    assert claim
    return jobs.complete(claim.lease, ARTIFACT, Progress(processed_files=2))


def failed(jobs: JobStore) -> Job:
    claim = jobs.claim(queued(jobs).id, "w")
    assert claim
    return jobs.fail(claim.lease, FAILURE)


def cancelled(jobs: JobStore) -> Job:
    return jobs.cancel(queued(jobs).id)


class Jobs:
    """Reads what ``LiveUpdates`` reads, by the ordinary client, and records what was read."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.fields_read: list[str] = []
        self.versions_read: list[str] = []

    def read_fields(self, job_id: str) -> dict[str, str]:
        self.fields_read.append(job_id)
        fields: dict[str, str] = self._redis.hgetall(keys.status(job_id))  # type: ignore[assignment]
        if not fields:
            raise JobNotFound
        return fields

    def read_version(self, job_id: str) -> list[str]:
        self.versions_read.append(job_id)
        found: Any = self._redis.hmget(keys.status(job_id), "version", "updated_at")
        return list(found)


class BothPaths:
    """The fast path in front of one application, and Flask alone in another."""

    def __init__(self, make_app: Callable[..., Flask], redis: Redis, settings: Any) -> None:
        self.jobs = Jobs(redis)
        #: Paths of the requests that the fast path left to Flask.
        self.left_to_flask: list[str] = []
        behind, alone = make_app(**settings), make_app(**settings)
        for app in (behind, alone):
            app.extensions[EXTENSION].rate_limiter._clock = lambda: NOW

        def flask(environ: Any, start_response: Any) -> Any:
            self.left_to_flask.append(environ["PATH_INFO"])
            return behind.wsgi_app(environ, start_response)

        dependencies = behind.extensions[EXTENSION]
        self.dependencies = (dependencies, alone.extensions[EXTENSION])
        self.fast = Client(StatusFastPath(flask, dependencies, self.jobs))
        self.flask = Client(alone)

    def get(self, path: str, **options: Any) -> tuple[Response, Response]:
        """Return the responses of the fast path and of Flask."""
        return send(self.fast, path, **options), send(self.flask, path, **options)


def send(client: Client, path: str, headers: Any = None, **options: Any) -> Response:
    response = client.open(path, headers={**REQUEST_ID, **(headers or {})}, **options)
    return response.status, list(response.headers), response.data


MakeBoth = Callable[..., BothPaths]


@pytest.fixture
def make_both(
    make_app: Callable[..., Flask], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> MakeBoth:
    """Make both paths with the given settings, at a moment that does not pass."""
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setattr("time.time_ns", lambda: int(NOW * 1e9))
    # Each application counts for itself, so that both count the same.
    monkeypatch.setattr("api.limits.rate_limits.RateLimiter.sync_counts", lambda _: None)
    return lambda **settings: BothPaths(make_app, redis, settings)


@pytest.fixture
def both(make_both: MakeBoth) -> BothPaths:
    return make_both()


def path_of(job: Job) -> str:
    return f"/v1/download/status/{job.id}"


@pytest.mark.parametrize("state", [queued, running, completed, failed, cancelled])
def test_response_is_the_same_as_flasks(
    both: BothPaths, jobs: JobStore, state: Callable[[JobStore], Job]
) -> None:
    path = path_of(state(jobs))
    for headers in (
        {},
        {"If-None-Match": '"1"'},
        {"If-None-Match": '"2"'},
        {"If-None-Match": 'W/"3"'},
        {"If-None-Match": '"3-1"'},
        {"X-User-Id": "bob", "Accept": "text/html"},
    ):
        for base_url in ("http://localhost", "https://localhost"):
            fast, flask = both.get(path, headers=headers, base_url=base_url)
            assert fast == flask
    assert both.left_to_flask == []
    # After the first poll the version is enough, except where a link has to be signed.
    assert len(both.jobs.fields_read) == (12 if state is completed else 1)
    assert len(both.jobs.versions_read) == (0 if state is completed else 11)


def test_queued_job_is_rendered_again_with_each_reading_of_the_queue(
    both: BothPaths, jobs: JobStore
) -> None:
    now = [0.0]
    for dependencies in both.dependencies:
        dependencies.forecaster._clock = lambda: now[0]
    others = [jobs.create(user, JobSpec(file_ids=(1,))).job for user in ("bob", "carol")]
    place = QueuePlace(turn=3, round=1)
    path = path_of(jobs.create("alice", JobSpec(file_ids=(1,)), place=place).job)
    for position, etag in ((3, '"1-3"'), (2, '"1-2"'), (1, '"1"')):
        for headers, status in (({}, "200 OK"), ({"If-None-Match": etag}, "304 NOT MODIFIED")):
            fast, flask = both.get(path, headers=headers)
            assert fast == flask
            assert (fast[0], dict(fast[1])["ETag"]) == (status, etag)
        fast, _ = both.get(path, headers={"If-None-Match": '"1-4"'})
        assert orjson.loads(fast[2])["queuePosition"] == position
        now[0] += 1
        if others:
            jobs.claim(others.pop().id, "w")
    assert both.left_to_flask == []
    assert len(both.jobs.fields_read) == 1


def test_completed_job_is_unchanged_until_its_link_has_to_be_renewed(
    both: BothPaths, jobs: JobStore
) -> None:
    path = path_of(completed(jobs))
    tags = set()
    # LINK_TTL is an hour: a conditional request gets a new link after half an hour at the latest.
    for minutes in range(0, 120, 10):
        for dependencies in both.dependencies:
            dependencies.presenter._clock = lambda now=minutes: 1_790_000_000_000 + now * 60_000
        fast, flask = both.get(path)
        assert fast == flask
        etag = dict(fast[1])["ETag"]
        tags.add(etag)
        for headers in ({"If-None-Match": etag}, {"If-None-Match": f"W/{etag}"}):
            fast, flask = both.get(path, headers=headers)
            assert fast == flask
            assert fast[0] == "304 NOT MODIFIED"
        for stale in tags - {etag}:
            fast, flask = both.get(path, headers={"If-None-Match": stale})
            assert fast == flask
            assert fast[0] == "200 OK"
    assert len(tags) in (4, 5)
    assert both.left_to_flask == []


@pytest.mark.parametrize("cors_origins", CORS_SETTINGS)
def test_cors_headers_are_the_same_for_every_origin(
    make_both: MakeBoth, jobs: JobStore, cors_origins: str
) -> None:
    both = make_both(cors_origins=cors_origins)
    for path in (path_of(completed(jobs)), path_of(cancelled(jobs)), path_of(running(jobs))):
        for headers in ORIGIN_HEADERS:
            for etag in ({}, {"If-None-Match": '"3"'}):
                fast, flask = both.get(path, headers=headers | etag)
                assert fast == flask
    assert both.left_to_flask == []
    fast, _ = both.get(path, headers={"Origin": "https://app.example"})
    assert {name for name, _ in fast[1]} > {
        "Access-Control-Allow-Origin",
        "Access-Control-Expose-Headers",
    }


@pytest.mark.parametrize("headers", [{}, {"traceparent": TRACEPARENT}])
def test_span_is_the_same_and_there_is_one_per_request(
    make_both: MakeBoth, jobs: JobStore, spans: Spans, headers: dict[str, str]
) -> None:
    both = make_both(requests_per_minute_ip=5)
    paths = [path_of(running(jobs)), f"/v1/download/status/{UNKNOWN_ID}"]
    for path in paths * 4:
        fast = send(both.fast, path, headers)
        fast_spans = described(spans.take_server_spans())
        assert fast == send(both.flask, path, headers)
        assert fast_spans == described(spans.take_server_spans())
        assert [span["name"] for span in fast_spans] == ["GET /v1/download/status/<job:job_id>"]
    assert fast_spans[0]["attributes"]["http.response.status_code"] == 429
    assert structlog.contextvars.get_contextvars() == {}


def test_log_lines_carry_the_ids_of_a_request_that_is_left_to_flask(
    both: BothPaths, jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(queued(jobs))
    seen: list[dict[str, Any]] = []

    def fail(*_: object) -> None:
        seen.append(structlog.contextvars.get_contextvars())
        raise RedisConnectionError("gone")

    monkeypatch.setattr("common.job_store.queries.JobQueries.get", fail)
    monkeypatch.setattr(both.jobs, "read_fields", fail)
    assert send(both.fast, path, {"traceparent": TRACEPARENT})[0] == "503 SERVICE UNAVAILABLE"
    assert seen == [{}, {"request_id": "the-same", "trace_id": TRACEPARENT.split("-")[1]}]
    assert structlog.contextvars.get_contextvars() == {}


REQUESTS_FOR_FLASK: list[tuple[str, dict[str, Any]]] = [
    ("?wait=0", {}),
    ("?nonsense", {}),
    ("/files", {}),
    ("", {"headers": {"If-None-Match": '"1", "2"'}}),
    ("", {"headers": {"If-None-Match": "*"}}),
    ("", {"headers": {"If-Match": '"1"'}}),
    ("", {"headers": {"If-Match": '"9"'}}),
    ("", {"headers": {"X-User-Id": "no\tname"}}),
    ("", {"headers": {"Host": "evil.example"}}),
    ("", {"method": "HEAD"}),
    ("", {"method": "POST"}),
    ("", {"method": "OPTIONS", "headers": {"Origin": "https://app.example"}}),
]


def test_anything_else_is_left_to_flask(make_both: MakeBoth, jobs: JobStore) -> None:
    both = make_both(cors_origins="https://app.example")
    job = queued(jobs)
    for tail, options in REQUESTS_FOR_FLASK:
        fast, flask = both.get(path_of(job) + tail, **options)
        assert fast == flask
    assert both.jobs.fields_read == both.jobs.versions_read == []


def test_job_with_an_owner_is_shown_to_the_same_callers(
    make_both: MakeBoth, jobs: JobStore
) -> None:
    both = make_both(**JWT, cors_origins="https://app.example")
    path = path_of(queued(jobs))
    for headers, status, left_to_flask in (
        (bearer("alice", exp=FAR_FUTURE), 200, False),
        (bearer("root", exp=FAR_FUTURE, scope="downloads:admin"), 200, False),
        (bearer("bob", exp=FAR_FUTURE), 403, True),
        (bearer("alice", exp=1), 401, True),
        (bearer("alice", exp=FAR_FUTURE, aud="another"), 401, True),
        ({}, 401, True),
        ({"Authorization": "Bearer of.bad.news"}, 401, True),
        ({"X-User-Id": "alice"}, 401, True),
    ):
        # The second request finds the token verified and the job rendered.
        for _ in range(2):
            both.left_to_flask.clear()
            fast, flask = both.get(path, headers=headers | {"Origin": "https://app.example"})
            assert fast == flask
            assert fast[0].startswith(str(status))
            assert bool(both.left_to_flask) is left_to_flask


def test_unknown_job_is_the_same_problem(both: BothPaths) -> None:
    for job_id in ("nonsense", "0" * 36, UNKNOWN_ID):
        fast, flask = both.get(f"/v1/download/status/{job_id}")
        assert fast == flask


def test_upper_case_id_names_the_same_job(both: BothPaths, jobs: JobStore) -> None:
    fast, flask = both.get(f"/v1/download/status/{queued(jobs).id.upper()}")
    assert fast == flask
    assert fast[0] == "200 OK"


def test_polls_count_against_the_limit_of_all_requests(
    make_app: Callable[..., Flask], redis: Redis, jobs: JobStore
) -> None:
    app = make_app(requests_per_minute_ip=3)
    client = Client(StatusFastPath(app.wsgi_app, app.extensions[EXTENSION], Jobs(redis)))
    path = path_of(queued(jobs))
    responses = [client.get(path) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    remaining = [response.headers["RateLimit-Remaining"] for response in responses[:3]]
    assert remaining == ["2", "1", "0"]


@pytest.mark.parametrize("method", ["read_fields", "read_version"])
def test_flask_responds_when_the_shared_connection_is_unavailable(
    both: BothPaths, jobs: JobStore, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def unavailable(job_id: str) -> Any:
        raise BackendUnavailable

    path = path_of(queued(jobs))
    if method == "read_version":
        assert send(both.fast, path)[0] == "200 OK"
    monkeypatch.setattr(both.jobs, method, unavailable)
    assert both.left_to_flask == []
    assert send(both.fast, path)[0] == "200 OK"
    assert both.left_to_flask == [path]


def test_next_poll_sees_a_change(both: BothPaths, jobs: JobStore) -> None:
    job = queued(jobs)
    for change in (lambda: None, lambda: jobs.claim(job.id, "w"), lambda: jobs.cancel(job.id)):
        change()
        for _ in range(2):
            fast, flask = both.get(path_of(job))
            assert fast == flask


def test_version_that_was_assigned_twice_is_read_again(
    both: BothPaths, jobs: JobStore, redis: Redis
) -> None:
    """A job store that lost its last second of writes continues from an older version."""
    job = queued(jobs)
    for progress in ("1", "2"):
        redis.hset(keys.status(job.id), mapping={"progress": progress, "updated_at": progress})
        fast, flask = both.get(path_of(job))
        assert fast == flask


def test_each_poll_gets_a_link_of_its_own(
    both: BothPaths, jobs: JobStore, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(completed(jobs))
    links = iter(("https://first", "https://second"))
    monkeypatch.setattr(storage, "presign_get", lambda *_, **__: next(links))
    seen = [both.fast.get(path).get_json()["downloadUrl"] for _ in range(2)]
    assert seen == ["https://first", "https://second"]


def test_each_poll_gets_a_request_id_of_its_own(both: BothPaths, jobs: JobStore) -> None:
    path = path_of(queued(jobs))
    ids = {both.fast.get(path).headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3


def test_a_client_above_its_limit_costs_no_read_and_counts_once(
    make_both: MakeBoth, jobs: JobStore
) -> None:
    both = make_both(requests_per_minute_ip=3)
    path = path_of(queued(jobs))
    unknown = f"/v1/download/status/{UNKNOWN_ID}"
    statuses = [send(both.fast, each)[0][:3] for each in (unknown, path, path, path, unknown)]
    assert statuses == ["404", "200", "200", "429", "429"]
    # The two that were allowed.
    assert len(both.jobs.fields_read) + len(both.jobs.versions_read) <= 3
