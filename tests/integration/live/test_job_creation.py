"""Creating jobs on the connection that the whole process shares, also when it fails."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from common.job_store.client import open_client
from stack.services import Valkey, start_valkey
from tests.support.live_api import Api, running

Response = tuple[int, Mapping[str, str], dict[str, Any]]


def post(api: Api, *file_ids: int, **headers: str) -> Response:
    """Create a job; return status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
    try:
        body = json.dumps({"file_ids": file_ids})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(
            "POST",
            "/v1/download/initiate",
            body,
            {"Content-Type": "application/json", **named},
        )
        response = connection.getresponse()
        return response.status, dict(response.headers), json.loads(response.read())
    finally:
        connection.close()


@pytest.fixture
def own_api(own_valkey: Valkey, tmp_path: Path) -> Iterator[Api]:
    api = Api(own_valkey.url, tmp_path / "log", CREATE_PER_MINUTE_USER=5)
    with running(api):
        # The first request opens the shared connection; later ones use it.
        post(api, 999, X_User_Id="first")
        time.sleep(0.3)
        yield api


def test_concurrent_requests_get_a_job_each_and_identical_ones_share_one(api: Api) -> None:
    with ThreadPoolExecutor(32) as pool:
        different = list(pool.map(lambda n: post(api, n, X_User_Id=f"many{n % 50}"), range(1, 201)))
        same = list(pool.map(lambda _: post(api, 7, 8, X_User_Id="storm"), range(50)))
    assert {status for status, _, _ in different + same} == {202}
    assert len({job["jobId"] for _, _, job in different}) == 200
    assert len({job["jobId"] for _, _, job in same}) == 1
    assert sum(not job["deduplicated"] for _, _, job in same) == 1


def test_scripts_are_loaded_again_after_a_script_flush(own_api: Api, own_valkey: Valkey) -> None:
    client: Redis = open_client(own_valkey.url, timeout=2)
    for number in (1, 2, 3):
        client.script_flush()
        assert post(own_api, number)[0] == 202
    counted: list[Any] = [client.get(key) for key in client.scan_iter("user:rate:*:anonymous:*")]
    # There is more than one only if a minute has just begun.
    assert sum(int(count) for count in counted) == 3


def test_limit_of_a_user_is_exact_and_reported(own_api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda n: post(own_api, n, X_User_Id="eager"), range(1, 11)))
    rejected = [(headers, job) for status, headers, job in responses if status == 429]
    # Up to twice the limit if a minute begins in between.
    assert 0 <= len(rejected) <= 5
    if len(rejected) == 5:
        assert {job["code"] for _, job in rejected} == {"RATE_LIMIT_EXCEEDED"}
        assert {headers["RateLimit-Limit"] for headers, _ in rejected} == {"5"}
        assert {headers["RateLimit-Remaining"] for headers, _ in rejected} == {"0"}


def test_job_store_that_hangs_is_a_503_in_time_and_works_again_later(
    own_api: Api, own_valkey: Valkey
) -> None:
    own_valkey.process.signal(signal.SIGSTOP)
    started = time.monotonic()
    status, headers, problem = post(own_api, 1)
    assert time.monotonic() - started < 2
    assert (status, problem["code"]) == (503, "BACKEND_UNAVAILABLE")
    assert int(headers["Retry-After"]) > 0
    own_valkey.process.signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while (response := post(own_api, 1))[0] != 202:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # The job store had received the first request before it hung: it is the same job.
    assert response[2]["deduplicated"] is True


def test_job_store_that_dies_is_a_503_immediately_and_works_again_later(
    own_api: Api, own_valkey: Valkey, tmp_path: Path
) -> None:
    own_valkey.process.kill()
    started = time.monotonic()
    assert post(own_api, 1)[0] == 503
    assert time.monotonic() - started < 2
    again = start_valkey(tmp_path / "valkey", port=own_valkey.port)
    try:
        deadline = time.monotonic() + 10
        while post(own_api, 1)[0] != 202:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        again.process.stop()
