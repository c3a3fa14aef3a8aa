"""Accepting jobs on the connection that the whole process shares, also when it breaks."""

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

Answer = tuple[int, Mapping[str, str], dict[str, Any]]


def ask(api: Api, *file_ids: int, **headers: str) -> Answer:
    """POST; status, headers and body."""
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
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def own_api(own_valkey: Valkey, tmp_path: Path) -> Iterator[Api]:
    api = Api(own_valkey.url, tmp_path / "log", CREATE_PER_MINUTE_USER=5)
    with running(api):
        # The first request opens the shared connection, those after it go by it.
        ask(api, 999, X_User_Id="first")
        time.sleep(0.3)
        yield api


def test_many_at_once_get_a_job_each_and_the_same_request_one(api: Api) -> None:
    with ThreadPoolExecutor(32) as pool:
        different = list(pool.map(lambda n: ask(api, n, X_User_Id=f"many{n % 50}"), range(1, 201)))
        same = list(pool.map(lambda _: ask(api, 7, 8, X_User_Id="storm"), range(50)))
    assert {status for status, _, _ in different + same} == {202}
    assert len({job["jobId"] for _, _, job in different}) == 200
    assert len({job["jobId"] for _, _, job in same}) == 1
    assert sum(not job["deduplicated"] for _, _, job in same) == 1


def test_scripts_are_loaded_again_when_the_store_forgot_them(
    own_api: Api, own_valkey: Valkey
) -> None:
    client: Redis = open_client(own_valkey.url, timeout=2)
    for number in (1, 2, 3):
        client.script_flush()
        assert ask(own_api, number)[0] == 202
    counted = [client.get(key) for key in client.scan_iter("user:rate:*:anonymous:*")]
    # More than one only when a minute has just begun.
    assert sum(map(int, counted)) == 3


def test_limit_of_a_user_is_exact_and_told(own_api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: ask(own_api, n, X_User_Id="eager"), range(1, 11)))
    refused = [(headers, job) for status, headers, job in answers if status == 429]
    # Twice the limit at most, should a minute begin in between.
    assert 0 <= len(refused) <= 5
    if len(refused) == 5:
        assert {job["code"] for _, job in refused} == {"RATE_LIMIT_EXCEEDED"}
        assert {headers["RateLimit-Limit"] for headers, _ in refused} == {"5"}
        assert {headers["RateLimit-Remaining"] for headers, _ in refused} == {"0"}


def test_store_that_hangs_is_told_in_time_and_serves_again(
    own_api: Api, own_valkey: Valkey
) -> None:
    own_valkey.process.signal(signal.SIGSTOP)
    began = time.monotonic()
    status, headers, problem = ask(own_api, 1)
    assert time.monotonic() - began < 2
    assert (status, problem["code"]) == (503, "BACKEND_UNAVAILABLE")
    assert int(headers["Retry-After"]) > 0
    own_valkey.process.signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while (answer := ask(own_api, 1))[0] != 202:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # What was asked for before the store hung had reached it: it is the same job.
    assert answer[2]["deduplicated"] is True


def test_store_that_breaks_off_is_told_at_once_and_nothing_is_lost(
    own_api: Api, own_valkey: Valkey, tmp_path: Path
) -> None:
    own_valkey.process.kill()
    began = time.monotonic()
    assert ask(own_api, 1)[0] == 503
    assert time.monotonic() - began < 2
    again = start_valkey(tmp_path / "valkey", port=own_valkey.port)
    try:
        deadline = time.monotonic() + 10
        while ask(own_api, 1)[0] != 202:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        again.process.stop()
