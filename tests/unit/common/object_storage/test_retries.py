"""Retries: which errors, how many for a whole job, and at what pace.

Rules: "Error retries" in the Amazon S3 user guide (503 SlowDown: reduce the request rate);
RFC 9110, 15.6.2 (501: the server does not support the request, so repeating it is useless).
"""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.errors import NetworkError, StorageError
from common.object_storage import Cancellation, Cancelled, ObjectStorage
from common.object_storage.errors import BucketForbidden, StorageBusy, StorageFull
from common.object_storage.retries import retry
from common.object_storage.retry_budget import MAX_PAUSE, MAX_RETRIES, RetryBudget
from tests.support.scripted_server import ScriptedServer, error, response


@pytest.mark.parametrize(("status", "code", "expected"), [
    (501, "NotImplemented", StorageError),
    (507, "XMinioStorageFull", StorageFull),
    (507, "", StorageFull),
    (400, "XMinioAdminBucketQuotaExceeded", StorageFull),
    (403, "QuotaExceeded", StorageFull),
    (403, "AccessDenied", BucketForbidden),
    (403, "", BucketForbidden),
])  # fmt: skip
def test_errors_that_remain_are_not_retried_within_an_attempt(
    server: ScriptedServer, storage: ObjectStorage,
    status: int, code: str, expected: type[StorageError],
) -> None:  # fmt: skip
    server.responses = [error(status, code), response(ETag='"e"')]
    with pytest.raises(StorageError) as raised:
        storage.put_object("b", "k", b"x")
    assert type(raised.value) is expected
    assert raised.value.retryable, "the job is retried later"
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "slow_down"), [(503, True), (429, True), (500, False)])
def test_only_overload_slows_the_job_down(
    server: ScriptedServer, storage: ObjectStorage, status: int, slow_down: bool
) -> None:
    cancellation = Cancellation()
    server.responses = [error(status, ""), response(ETag='"e"')]
    storage.put_object("b", "k", b"x", cancellation=cancellation)
    assert (cancellation.storage_retries._resume_at > 0) is slow_down


def test_all_requests_of_a_job_share_its_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.object_storage.retries.BASE_DELAY", 0.0)
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
    request = budget.begin()
    while budget.take_retry(request):
        pass
    for _ in range(10):
        budget.end(budget.begin(), succeeded=True)
    assert budget.take_retry(request)
    assert budget.take_retry(request)
    assert not budget.take_retry(request)


def test_after_a_slow_down_no_thread_of_the_job_sends_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("common.object_storage.retry_budget.FIRST_PAUSE", 0.3)
    cancellation = Cancellation()
    cancellation.storage_retries.slow_down()
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
    budget.end(budget.begin(), succeeded=True)
    assert budget._pause < MAX_PAUSE


def test_requests_in_flight_do_not_add_to_one_overload() -> None:
    budget = RetryBudget()
    for _ in range(64):
        budget.slow_down()
    assert budget.remaining_pause() < 0.5


def test_a_pause_ends_when_the_job_is_cancelled() -> None:
    cancellation = Cancellation()
    cancellation.storage_retries._resume_at = time.monotonic() + 60
    threading.Timer(0.1, cancellation.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        retry(lambda: None, cancellation)
    assert time.monotonic() - started < 1


class Service:
    """A service that fails or works as the test says, and counts its requests."""

    def __init__(self, budget: RetryBudget) -> None:
        self.budget = budget
        self.cancellation = Cancellation(budget)
        self.works = threading.Event()
        self.attempts = 0
        #: Of requests that were given up.
        self.errors: list[StorageBusy] = []
        self._lock = threading.Lock()

    def request(self) -> float:
        """Send one request with its retries; return the seconds until its result or error."""
        started = time.monotonic()
        try:
            retry(self._attempt, self.cancellation)
        except StorageBusy as error:
            self.errors.append(error)
        return time.monotonic() - started

    def _attempt(self) -> None:
        with self._lock:
            self.attempts += 1
        if not self.works.is_set():
            busy = StorageBusy("503 SlowDown")
            busy.slow_down = True
            raise busy


@pytest.fixture
def service() -> Service:
    return Service(RetryBudget(max_outage=0.3))


@pytest.mark.parametrize("threads", [1, 2, 64])
def test_a_job_whose_requests_all_fail_gives_up_soon(service: Service, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        durations = list(pool.map(lambda _: service.request(), range(threads)))
    assert min(durations) < 0.9
    assert service.errors[0].all_requests_failed
    assert service.attempts > threads, "nothing was retried"


def test_a_long_pause_ends_when_the_job_gives_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.object_storage.retry_budget.FIRST_PAUSE", 60.0)
    monkeypatch.setattr("common.object_storage.retry_budget.MAX_PAUSE", 60.0)
    assert 0.2 < service.request() < 1


def test_requests_that_fail_are_retried_while_another_one_has_not_failed(service: Service) -> None:
    release = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(retry, lambda: release.wait(10), service.cancellation)
        failing = pool.submit(service.request)
        time.sleep(0.6)
        assert not failing.done()
        service.works.set()
        failing.result(10)
        release.set()
        assert slow.result(10)


def test_an_error_does_not_speak_for_requests_that_work(service: Service) -> None:
    with ThreadPoolExecutor(1) as pool:
        release = threading.Event()
        slow = pool.submit(retry, lambda: release.wait(10), service.cancellation)
        service.request()
        release.set()
        assert slow.result(10)
    assert not service.errors[0].all_requests_failed


def test_a_success_starts_the_time_again(service: Service) -> None:
    request, other = service.budget.begin(), service.budget.begin()
    for _ in range(2):
        assert service.budget.take_retry(other)
    time.sleep(0.35)
    service.budget.end(request, succeeded=True)
    assert service.budget.take_retry(other)
    time.sleep(0.35)
    assert not service.budget.take_retry(other)


def test_received_bytes_count_like_a_success(service: Service) -> None:
    request = service.budget.begin()
    for _ in range(2):
        assert service.budget.take_retry(request)
    time.sleep(0.35)
    service.budget.add_progress(request)
    for _ in range(2):
        assert service.budget.take_retry(request)
    time.sleep(0.35)
    assert not service.budget.take_retry(request)


def test_connections_that_all_break_at_once_are_no_outage(service: Service) -> None:
    """All requests fail once, and one of them twice, while the others are being repeated."""
    requests = [service.budget.begin() for _ in range(16)]
    for request in requests:
        assert service.budget.take_retry(request)
    time.sleep(0.35)
    for _ in range(3):
        assert service.budget.take_retry(requests[0])
    for request in requests[1:-1]:
        assert service.budget.take_retry(request)
    assert not service.budget.take_retry(requests[-1]), "now all have failed twice"


def test_a_cleanup_does_not_wait_again_for_a_storage_that_the_job_gave_up(service: Service) -> None:
    service.request()
    attempts, started = service.attempts, time.monotonic()
    with pytest.raises(StorageBusy):
        retry(service._attempt, Cancellation(service.budget))
    assert service.attempts == attempts + 2
    assert time.monotonic() - started < 0.6


def test_failures_of_a_source_do_not_end_the_retries_of_the_storage() -> None:
    cancellation = Cancellation()
    assert cancellation.source_retries is not cancellation.storage_retries
    request = cancellation.source_retries.begin()
    for _ in range(10):
        assert cancellation.source_retries.take_retry(request)
    assert cancellation.source_retries._give_up_at == math.inf


def test_the_pause_that_a_storage_asks_for_is_kept(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    """RFC 9110, 10.2.3: Retry-After, with 503 and 429."""
    busy = error(503, "SlowDown").replace(b"\r\n", b"\r\nRetry-After: 1\r\n", 1)
    server.responses = [busy, response(ETag='"e"')]
    cancellation = Cancellation(RetryBudget())
    started = time.monotonic()
    storage.put_object("b", "k", b"x", cancellation=cancellation)
    assert time.monotonic() - started > 0.9


def test_a_long_pause_is_left_to_the_retries_of_the_job(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [error(503, "SlowDown").replace(b"\r\n", b"\r\nRetry-After: 60\r\n", 1)]
    with pytest.raises(StorageBusy) as raised:
        storage.put_object("b", "k", b"x")
    assert raised.value.retry_after == 60
