"""When a service counts as unavailable, and what that means for jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest

from common.errors import (
    DependencyUnavailable,
    DownloadError,
    FileNotFound,
    NetworkError,
    ProcessingError,
    SourceRateLimited,
    StorageError,
)
from common.jobs.model import Artifact
from common.object_storage import BadChecksum
from common.sources import SourceFile
from worker import circuit_breakers
from worker.circuit_breakers import (
    MAX_POSTPONEMENT,
    CircuitBreaker,
    CircuitBreakers,
    SourceErrorMarker,
)

ARCHIVE = Artifact(bucket="b", key="k", name="n", size=1, content_type="t")


class Service:
    """A storage that is available or not."""

    def __init__(self) -> None:
        self.checked = 0
        self.unavailable = False

    def check(self) -> None:
        self.checked += 1
        if self.unavailable:
            raise NetworkError("unavailable")


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def breaker(server: fakeredis.FakeServer, service: Service) -> CircuitBreaker:
    return CircuitBreaker("storage", redis_on(server), check=service.check, open_seconds=1.2)


def redis_on(server: fakeredis.FakeServer) -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis(server=server, decode_responses=True)


def claim(job_id: str = "job", *, waited: float | None = None) -> Any:
    """Return the claim of a job that was first postponed ``waited`` seconds ago; None: never."""
    now = 1_700_000_000_000
    since = None if waited is None else now - round(waited * 1000)
    job = SimpleNamespace(id=job_id, updated_at=now, postponed_since=since)
    return SimpleNamespace(job=job)


def run(
    breakers: CircuitBreakers,
    error: Exception | None,
    job_id: str = "job",
    *,
    waited: float | None = None,
) -> Artifact:
    def build(*_: object) -> Artifact:
        if error is not None:
            raise error
        return ARCHIVE

    return breakers.wrap(build)(claim(job_id, waited=waited), None)


def test_one_failure_opens_the_breaker_when_the_check_fails_and_uses_no_attempt(
    breaker: CircuitBreaker, service: Service
) -> None:
    breakers = CircuitBreakers(breaker)
    service.unavailable = True
    with pytest.raises(DependencyUnavailable) as postponed:
        run(breakers, NetworkError())
    assert postponed.value.retry_after is not None
    assert 0 < postponed.value.retry_after < 2
    assert postponed.value.message.startswith("The circuit breaker of the object storage is open: ")
    assert not breakers.allows_attempt()


def test_one_job_that_always_fails_does_not_open_the_breaker(breaker: CircuitBreaker) -> None:
    breakers = CircuitBreakers(breaker)
    for _ in range(10):
        with pytest.raises(NetworkError):
            run(breakers, NetworkError())
    assert breakers.allows_attempt()


def test_three_different_failed_jobs_in_a_row_open_the_breaker(breaker: CircuitBreaker) -> None:
    breakers = CircuitBreakers(breaker)
    for job_id in ("a", "b"):
        with pytest.raises(StorageError):
            run(breakers, StorageError(), job_id)
    with pytest.raises(DependencyUnavailable):
        run(breakers, StorageError(), "c")
    assert not breakers.allows_attempt()


def test_a_success_resets_the_count_of_failures(breaker: CircuitBreaker) -> None:
    breakers = CircuitBreakers(breaker)
    for job_id in ("a", "b"):
        with pytest.raises(StorageError):
            run(breakers, StorageError(), job_id)
    assert run(breakers, None) == ARCHIVE
    with pytest.raises(StorageError):
        run(breakers, StorageError(), "c")


@pytest.mark.parametrize("error", [FileNotFound(), ProcessingError(), BadChecksum()])
def test_errors_of_the_job_itself_are_not_counted(
    breaker: CircuitBreaker, service: Service, error: DownloadError
) -> None:
    breakers = CircuitBreakers(breaker)
    for job_id in "abcde":
        with pytest.raises(type(error)):
            run(breakers, error, job_id)
    assert breakers.allows_attempt()
    assert service.checked == 0


def test_workers_share_the_state_of_the_breaker(
    server: fakeredis.FakeServer, breaker: CircuitBreaker, service: Service
) -> None:
    first = CircuitBreakers(breaker)
    second = CircuitBreakers(
        CircuitBreaker("storage", redis_on(server), check=service.check, open_seconds=1.2)
    )
    assert second.allows_attempt()
    service.unavailable = True
    with pytest.raises(DependencyUnavailable):
        run(first, NetworkError())
    time.sleep(0.5)
    assert not second.allows_attempt()
    service.unavailable = False
    _wait_until(second.allows_attempt)
    run(second, None)
    assert first.allows_attempt()
    assert first.allows_attempt()


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_breaker_is_half_open_on_time_when_the_workers_clocks_differ(
    server: fakeredis.FakeServer,
    breaker: CircuitBreaker,
    service: Service,
    hours: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = CircuitBreakers(breaker)
    second = CircuitBreakers(
        CircuitBreaker("storage", redis_on(server), check=service.check, open_seconds=1.2)
    )

    def shifted(clock: Callable[[], float]) -> Callable[[], float]:
        return lambda: clock() + hours * 3_600

    service.unavailable = True
    with monkeypatch.context() as other_clock:
        shifted_time = SimpleNamespace(time=shifted(time.time), monotonic=shifted(time.monotonic))
        other_clock.setattr(circuit_breakers, "time", shifted_time)
        with pytest.raises(DependencyUnavailable) as postponed:
            run(second, NetworkError())
    assert postponed.value.retry_after is not None
    assert 1 < postponed.value.retry_after < 2
    assert not first.allows_attempt()
    service.unavailable = False
    _wait_until(first.allows_attempt)
    run(first, None)
    assert first.allows_attempt()
    assert first.allows_attempt()


def test_a_half_open_breaker_allows_one_job_at_a_time_and_none_while_the_check_fails(
    breaker: CircuitBreaker, service: Service
) -> None:
    breakers = CircuitBreakers(breaker)
    service.unavailable = True
    with pytest.raises(DependencyUnavailable):
        run(breakers, NetworkError())
    checked = service.checked
    _wait_until(lambda: breakers.allows_attempt() or service.checked > checked)
    assert not breakers.allows_attempt()
    service.unavailable = False
    _wait_until(breakers.allows_attempt)
    assert not breakers.allows_attempt()


def test_a_failed_trial_opens_the_breaker_again_and_uses_no_attempt(
    breaker: CircuitBreaker, service: Service
) -> None:
    breakers = CircuitBreakers(breaker)
    service.unavailable = True
    with pytest.raises(DependencyUnavailable):
        run(breakers, NetworkError())
    service.unavailable = False
    _wait_until(breakers.allows_attempt)
    with pytest.raises(DependencyUnavailable):
        run(breakers, StorageError(), "trial")
    assert not breakers.allows_attempt()


def test_a_success_while_the_breaker_is_open_does_not_close_it(
    breaker: CircuitBreaker, service: Service
) -> None:
    breakers = CircuitBreakers(breaker)
    service.unavailable = True
    with pytest.raises(DependencyUnavailable):
        run(breakers, NetworkError())
    service.unavailable = False
    assert run(breakers, None, "started before the outage") == ARCHIVE
    assert not breakers.allows_attempt()


def test_the_breaker_counts_as_closed_while_the_job_store_is_unavailable(
    server: fakeredis.FakeServer, breaker: CircuitBreaker
) -> None:
    breakers = CircuitBreakers(breaker)
    for job_id in "abc":
        with pytest.raises((StorageError, DependencyUnavailable)):
            run(breakers, StorageError(), job_id)
    assert not breakers.allows_attempt()
    server.connected = False
    assert breakers.allows_attempt()
    with pytest.raises(StorageError):
        run(breakers, StorageError(), "d")
    assert run(breakers, None) == ARCHIVE


def test_an_attempt_of_a_job_that_was_postponed_for_too_long_counts(
    breaker: CircuitBreaker, service: Service
) -> None:
    service.unavailable = True
    with pytest.raises(DependencyUnavailable):
        run(CircuitBreakers(breaker), NetworkError(), waited=MAX_POSTPONEMENT - 1)
    with pytest.raises(NetworkError):
        run(CircuitBreakers(breaker), NetworkError(), waited=MAX_POSTPONEMENT + 1)


def test_an_outage_that_has_just_ended_costs_no_attempt_unless_the_job_makes_no_progress(
    breaker: CircuitBreaker,
) -> None:
    """The service passes its check again, so what the job saw decides."""
    error = NetworkError("The storage closed the connection.")
    error.all_requests_failed = True
    with pytest.raises(DependencyUnavailable) as postponed:
        run(CircuitBreakers(breaker), error)
    assert postponed.value.message == (
        "All requests to the object storage failed: The storage closed the connection."
    )
    with pytest.raises(NetworkError):
        run(CircuitBreakers(breaker), error, waited=2.0)


def test_an_outage_costs_a_job_that_first_started_long_ago_no_attempt(
    breaker: CircuitBreaker, service: Service
) -> None:
    service.unavailable = True
    with pytest.raises(DependencyUnavailable):
        run(CircuitBreakers(breaker), NetworkError())


def test_errors_of_the_source_open_the_breaker_of_the_source_only(
    server: fakeredis.FakeServer, breaker: CircuitBreaker, service: Service
) -> None:
    breakers = CircuitBreakers(breaker, CircuitBreaker("files.example", redis_on(server)))
    source = SourceErrorMarker(_FailingSource())
    for job_id in "abc":
        with pytest.raises(SourceRateLimited) as failed:
            source.describe((1,), None, cached={})
        with pytest.raises(DependencyUnavailable if job_id == "c" else SourceRateLimited):
            run(breakers, failed.value, job_id)
    assert service.checked == 0
    assert not breakers.allows_attempt()
    assert breaker.allows_attempt()


def test_only_errors_raised_by_the_source_itself_are_marked() -> None:
    source = SourceErrorMarker(_FailingSource())
    with (
        pytest.raises(StorageError) as failed,
        source.open(None, cancellation=None, progress=None),
    ):
        raise StorageError
    assert not failed.value.from_source
    with (
        pytest.raises(NetworkError) as broken,
        source.open(None, cancellation=None, progress=None) as fill,
    ):
        fill(memoryview(b""))
    assert broken.value.from_source


def test_an_error_of_the_source_names_the_file_that_was_read() -> None:
    source = SourceErrorMarker(_FailingSource())
    file = SourceFile(file_id=7, name="a", size=1, origin="http://files")
    with (
        pytest.raises(NetworkError, match=r"^File 7: "),
        source.open(file, cancellation=None, progress=None) as fill,
    ):
        fill(memoryview(b""))


class _FailingSource:
    def describe(self, *_: object, **__: object) -> None:
        raise SourceRateLimited

    def open(self, *_: object, **__: object) -> AbstractContextManager[Callable[..., int]]:
        @contextmanager
        def open_file() -> Any:
            def fill(_: memoryview) -> int:
                raise NetworkError

            yield fill

        return open_file()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
