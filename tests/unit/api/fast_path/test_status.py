"""The quick way of answering a poll says what Flask would say, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from redis import Redis
from werkzeug.test import Client

from api.dependencies import EXTENSION
from api.fast_path.status import StatusFastPath
from common.errors import BackendUnavailable, JobNotFound
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.model import Failure, Job, JobSpec
from tests.unit.api.auth.test_authorization import SECRET, bearer
from tests.unit.api.conftest import ARTIFACT

NOW = 1_790_000_000.5
#: Of tokens: the library that checks them has a clock of its own.
LATE = 9_000_000_000
FAILURE = Failure(code="NETWORK_ERROR", message="It broke", retryable=True)


def queued(jobs: JobStore) -> Job:
    spec = JobSpec(file_ids=(1, 2), metadata={"name": "Überfahrt", "deep": [1, None]})
    return jobs.create("alice", spec).job


def running(jobs: JobStore) -> Job:
    claim = jobs.claim(queued(jobs).id, "w")
    assert claim
    jobs.heartbeat(claim.lease, {"progress": 40, "seconds_remaining": "2.5", "total_bytes": 9})
    return claim.job


def completed(jobs: JobStore) -> Job:
    from common.jobs.model import Progress

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
    """What ``LiveUpdates`` reads, by the ordinary client; notes what was asked for."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.read_of: list[str] = []
        self.stamp_of: list[str] = []

    def read_fields(self, job_id: str) -> dict[str, str]:
        self.read_of.append(job_id)
        fields: dict[str, str] = self._redis.hgetall(keys.status(job_id))  # type: ignore[assignment]
        if not fields:
            raise JobNotFound
        return fields

    def read_version(self, job_id: str) -> list[str]:
        self.stamp_of.append(job_id)
        found: Any = self._redis.hmget(keys.status(job_id), "version", "updated_at")
        return list(found)


@pytest.fixture
def clients(
    make_app: Callable[..., Flask], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> tuple[Client, Client, Jobs]:
    """The quick way, Flask's own, and what the quick way reads."""
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setattr("time.time_ns", lambda: int(NOW * 1e9))
    # Each counts for itself, so that both come to the same count.
    monkeypatch.setattr("api.rate_limits.Limiter.exchange", lambda _: None)
    read = Jobs(redis)
    slow, behind = make_app(), make_app()
    for app in (slow, behind):
        monkeypatch.setattr(app.extensions[EXTENSION].limiter, "_clock", lambda: NOW)
    quick = StatusFastPath(behind.wsgi_app, behind.extensions[EXTENSION], read)
    return Client(quick), Client(slow), read


def told(client: Client, path: str, **options: Any) -> tuple[str, list[tuple[str, str]], bytes]:
    answer = client.get(path, **options)
    return answer.status, list(answer.headers), answer.data


REQUEST_ID = {"X-Request-ID": "the-same"}


@pytest.mark.parametrize("state", [queued, running, completed, failed, cancelled])
def test_quick_answer_is_the_slow_one(
    clients: tuple[Client, Client, Jobs], jobs: JobStore, state: Callable[[JobStore], Job]
) -> None:
    quick, slow, read = clients
    path = f"/v1/download/status/{state(jobs).id}"
    for headers in (
        {},
        {"If-None-Match": '"1"'},
        {"If-None-Match": '"2"'},
        {"If-None-Match": 'W/"3"'},
        {"X-User-Id": "bob", "Accept": "text/html"},
    ):
        for base_url in ("http://localhost", "https://localhost"):
            options = {"headers": {**REQUEST_ID, **headers}, "base_url": base_url}
            assert told(quick, path, **options) == told(slow, path, **options)
    # Once it is known, and no link has to be signed, its version is enough.
    assert len(read.read_of) == (10 if state is completed else 1)
    assert len(read.stamp_of) == (0 if state is completed else 9)


LEFT_TO_FLASK: list[tuple[str, dict[str, Any]]] = [
    ("?wait=0", {}),
    ("?nonsense", {}),
    ("/files", {}),
    ("", {"headers": {**REQUEST_ID, "If-None-Match": '"1", "2"'}}),
    ("", {"headers": {**REQUEST_ID, "If-None-Match": "*"}}),
    ("", {"headers": {**REQUEST_ID, "X-User-Id": "no\tname"}}),
    ("", {"method": "HEAD", "headers": REQUEST_ID}),
    ("", {"method": "POST", "headers": REQUEST_ID}),
]


def test_anything_else_is_left_to_flask(
    clients: tuple[Client, Client, Jobs], jobs: JobStore
) -> None:
    quick, slow, read = clients
    job_id = queued(jobs).id
    for tail, options in LEFT_TO_FLASK:
        path = f"/v1/download/status/{job_id}{tail}"
        arguments: dict[str, Any] = {"headers": REQUEST_ID, **options}
        answers = [client.open(path, **arguments) for client in (quick, slow)]
        assert answers[0].status == answers[1].status
        assert list(answers[0].headers) == list(answers[1].headers)
        assert answers[0].data == answers[1].data
    assert read.read_of == read.stamp_of == []


def test_where_jobs_have_owners_both_tell_them_to_the_same_callers(
    clients: tuple[Client, Client, Jobs],
    make_app: Callable[..., Flask],
    jobs: JobStore,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"auth_mode": "jwt", "jwt_secret": SECRET, "jwt_audience": "longhaul"}
    slow, behind = make_app(**changes), make_app(**changes)
    for app in (slow, behind):
        monkeypatch.setattr(app.extensions[EXTENSION].limiter, "_clock", lambda: NOW)
    left: list[str] = []

    def flask(environ: Any, start: Any) -> Any:
        left.append(environ["PATH_INFO"])
        return behind.wsgi_app(environ, start)

    context = behind.extensions[EXTENSION]
    quick = Client(StatusFastPath(flask, context, Jobs(redis)))
    path = f"/v1/download/status/{queued(jobs).id}"
    for caller, status, asks_flask in (
        (bearer("alice", exp=LATE), 200, False),
        (bearer("root", exp=LATE, scope="downloads:admin"), 200, False),
        (bearer("bob", exp=LATE), 403, True),
        (bearer("alice", exp=1), 401, True),
        ({}, 401, True),
        ({"Authorization": "Bearer of.bad.news"}, 401, True),
        ({"X-User-Id": "alice"}, 401, True),
    ):
        left.clear()
        answers = [told(each, path, headers=REQUEST_ID | caller) for each in (quick, Client(slow))]
        assert answers[0] == answers[1]
        assert answers[0][0].startswith(str(status))
        assert bool(left) is asks_flask


def test_unknown_job_is_the_same_problem(clients: tuple[Client, Client, Jobs]) -> None:
    quick, slow, _ = clients
    for job_id in ("nonsense", "0" * 36, "00000000-0000-4000-8000-000000000000"):
        path = f"/v1/download/status/{job_id}"
        assert told(quick, path, headers=REQUEST_ID) == told(slow, path, headers=REQUEST_ID)


def test_upper_case_id_names_the_same_job(
    clients: tuple[Client, Client, Jobs], jobs: JobStore
) -> None:
    quick, slow, _ = clients
    path = f"/v1/download/status/{queued(jobs).id.upper()}"
    assert told(quick, path, headers=REQUEST_ID) == told(slow, path, headers=REQUEST_ID)


def test_quick_polls_count_against_the_limit_of_all_requests(
    make_app: Callable[..., Flask], redis: Redis, jobs: JobStore
) -> None:
    app = make_app(requests_per_minute_ip=3)
    client = Client(StatusFastPath(app.wsgi_app, app.extensions[EXTENSION], Jobs(redis)))
    path = f"/v1/download/status/{queued(jobs).id}"
    answers = [client.get(path) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers[:3]] == ["2", "1", "0"]


def test_store_that_is_away_is_left_to_flask(
    make_app: Callable[..., Flask],
    redis: Redis,
    jobs: JobStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(job_id: str) -> Any:
        raise BackendUnavailable

    app, reading = make_app(), Jobs(redis)
    client = Client(StatusFastPath(app.wsgi_app, app.extensions[EXTENSION], reading))
    path = f"/v1/download/status/{queued(jobs).id}"
    for method in ("read_fields", "read_version"):
        assert client.get(path).status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(reading, method, away)
            assert client.get(path).status_code == 200


def test_change_is_seen_by_the_next_poll(
    clients: tuple[Client, Client, Jobs], jobs: JobStore
) -> None:
    quick, slow, _ = clients
    job = queued(jobs)
    path = f"/v1/download/status/{job.id}"
    for change in (lambda: None, lambda: jobs.claim(job.id, "w"), lambda: jobs.cancel(job.id)):
        change()
        for _ in range(2):
            assert told(quick, path, headers=REQUEST_ID) == told(slow, path, headers=REQUEST_ID)


def test_version_that_came_twice_is_told_as_it_is(
    clients: tuple[Client, Client, Jobs], jobs: JobStore, redis: Redis
) -> None:
    """A store that lost its last second counts on from where it was."""
    quick, slow, _ = clients
    job = queued(jobs)
    path = f"/v1/download/status/{job.id}"
    for progress in ("1", "2"):
        redis.hset(keys.status(job.id), mapping={"progress": progress, "updated_at": progress})
        assert told(quick, path, headers=REQUEST_ID) == told(slow, path, headers=REQUEST_ID)


def test_link_is_signed_anew_for_each_poll(
    clients: tuple[Client, Client, Jobs], jobs: JobStore, storage: Any, monkeypatch: Any
) -> None:
    quick, _, _ = clients
    path = f"/v1/download/status/{completed(jobs).id}"
    links = iter(("https://first", "https://second"))
    monkeypatch.setattr(storage, "presign_get", lambda *_, **__: next(links))
    seen = [quick.get(path).get_json()["downloadUrl"] for _ in range(2)]
    assert seen == ["https://first", "https://second"]


def test_each_poll_has_an_id_of_its_own(
    clients: tuple[Client, Client, Jobs], jobs: JobStore
) -> None:
    quick, _, _ = clients
    path = f"/v1/download/status/{queued(jobs).id}"
    ids = {quick.get(path).headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
