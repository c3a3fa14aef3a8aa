"""Retries: which errors, how many for a whole job, and at what pace.

Rules: "Error retries" in the Amazon S3 user guide (503 SlowDown: reduce the request rate);
RFC 9110, 15.6.2 (501: the server does not support the request, so repeating it is useless).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.errors import NetworkError, StorageError
from common.object_storage import Cancellation, Cancelled, ObjectStorage
from common.object_storage.retries import retry
from common.object_storage.retry_budget import MAX_PAUSE, MAX_RETRIES, RetryBudget
from tests.unit.common.object_storage.test_http_pool import ScriptedServer, error
from tests.unit.common.object_storage.test_responses import response


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def storage(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    monkeypatch.setattr("common.object_storage.retries.FIRST_DELAY", 0.001)
    storage = ObjectStorage(endpoint=server.url, region="r", access_key="a", secret_key="b")
    yield storage
    storage.close()


def test_501_is_not_retried(server: ScriptedServer, storage: ObjectStorage) -> None:
    server.responses = [error(501, "NotImplemented"), response()]
    with pytest.raises(StorageError, match="NotImplemented"):
        storage.put_object("b", "k", b"x")
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "slow_down"), [(503, True), (429, True), (500, False)])
def test_only_overload_slows_the_job_down(
    server: ScriptedServer, storage: ObjectStorage, status: int, slow_down: bool
) -> None:
    cancellation = Cancellation()
    server.responses = [error(status, ""), response(ETag='"e"')]
    storage.put_object("b", "k", b"x", cancellation=cancellation)
    assert (cancellation.retry_budget._resume_at > 0) is slow_down


def test_all_requests_of_a_job_share_its_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.object_storage.retries.FIRST_DELAY", 0.0)
    cancellation, attempts, lock = Cancellation(), 0, threading.Lock()

    def fail() -> None:
        nonlocal attempts
        with lock:
            attempts += 1
        raise NetworkError

    def call(_: int) -> None:
        with pytest.raises(NetworkError):
            retry(fail, cancellation)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(call, range(64)))
    # Without the budget it would be five times 64 attempts.
    assert attempts == 64 + MAX_RETRIES


def test_successes_restore_the_budget() -> None:
    budget = RetryBudget()
    while budget.take_retry():
        pass
    for _ in range(10):
        budget.add_success()
    assert budget.take_retry()
    assert budget.take_retry()
    assert not budget.take_retry()


def test_after_a_slow_down_no_thread_of_the_job_sends_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("common.object_storage.retry_budget.FIRST_PAUSE", 0.3)
    cancellation = Cancellation()
    cancellation.retry_budget.slow_down()
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda _: retry(time.monotonic, cancellation), range(8)))
    assert min(sent) - started >= 0.29


def test_pauses_grow_to_a_limit_and_shrink_with_success() -> None:
    budget = RetryBudget()
    pauses = []
    for _ in range(12):
        budget._resume_at = 0.0
        budget.slow_down()
        pauses.append(budget._pause)
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE
    budget.add_success()
    assert budget._pause < MAX_PAUSE


def test_requests_in_flight_do_not_add_to_one_overload() -> None:
    budget = RetryBudget()
    for _ in range(64):
        budget.slow_down()
    assert budget.remaining_pause() < 0.5


def test_a_pause_ends_when_the_job_is_cancelled() -> None:
    cancellation = Cancellation()
    cancellation.retry_budget._resume_at = time.monotonic() + 60
    threading.Timer(0.1, cancellation.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        retry(lambda: None, cancellation)
    assert time.monotonic() - started < 1
