"""When a service counts as away, and what that means for jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any

import fakeredis
import pybreaker
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
from worker.blame import SourceErrorMarker
from worker.circuit_breakers import PATIENCE, CircuitBreakers, ServiceCircuitBreaker

ARCHIVE = Artifact(bucket="b", key="k", name="n", size=1, content_type="t")


class Service:
    """A storage that is there or away, and that may fail jobs either way."""

    def __init__(self) -> None:
        self.checked = 0
        self.away = False

    def check(self) -> None:
        self.checked += 1
        if self.away:
            raise NetworkError("away")


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def circuit(server: fakeredis.FakeServer, service: Service) -> ServiceCircuitBreaker:
    return ServiceCircuitBreaker(
        "storage", fakeredis.FakeRedis(server=server), check=service.check, reset=1.2
    )


def claim(job_id: str = "job", *, waited: float = 0.0) -> Any:
    now = 1_700_000_000_000
    return SimpleNamespace(
        job=SimpleNamespace(id=job_id, started_at=now, updated_at=now + round(waited * 1000))
    )


def run(
    circuits: CircuitBreakers, error: Exception | None, job_id: str = "job", *, waited: float = 0.0
) -> Artifact:
    def build(*_: object) -> Artifact:
        if error is not None:
            raise error
        return ARCHIVE

    return circuits.guard(build)(claim(job_id, waited=waited), None)  # type: ignore[arg-type]


def test_one_failure_of_a_storage_that_is_away_opens_the_circuit_and_costs_nothing(
    circuit: ServiceCircuitBreaker, service: Service
) -> None:
    circuits = CircuitBreakers(circuit)
    service.away = True
    with pytest.raises(DependencyUnavailable) as away:
        run(circuits, NetworkError())
    assert away.value.retry_after is not None
    assert 0 < away.value.retry_after < 2
    assert not circuits.may_start()


def test_a_job_that_always_fails_by_itself_is_no_outage(circuit: ServiceCircuitBreaker) -> None:
    circuits = CircuitBreakers(circuit)
    for _ in range(10):
        with pytest.raises(NetworkError):
            run(circuits, NetworkError())
    assert circuits.may_start()


def test_several_jobs_in_a_row_that_fail_are_an_outage(circuit: ServiceCircuitBreaker) -> None:
    circuits = CircuitBreakers(circuit)
    for job_id in ("a", "b"):
        with pytest.raises(StorageError):
            run(circuits, StorageError(), job_id)
    with pytest.raises(DependencyUnavailable):
        run(circuits, StorageError(), "c")
    assert not circuits.may_start()


def test_a_success_in_between_starts_the_count_anew(circuit: ServiceCircuitBreaker) -> None:
    circuits = CircuitBreakers(circuit)
    for job_id in ("a", "b"):
        with pytest.raises(StorageError):
            run(circuits, StorageError(), job_id)
    assert run(circuits, None) == ARCHIVE
    with pytest.raises(StorageError):
        run(circuits, StorageError(), "c")


@pytest.mark.parametrize("error", [FileNotFound(), ProcessingError(), BadChecksum()])
def test_a_fault_of_the_job_is_left_to_the_job(
    circuit: ServiceCircuitBreaker, service: Service, error: DownloadError
) -> None:
    circuits = CircuitBreakers(circuit)
    for job_id in "abcde":
        with pytest.raises(type(error)):
            run(circuits, error, job_id)
    assert circuits.may_start()
    assert service.checked == 0


def test_every_worker_knows_of_an_outage_and_of_its_end(
    server: fakeredis.FakeServer, circuit: ServiceCircuitBreaker, service: Service
) -> None:
    here = CircuitBreakers(circuit)
    there = CircuitBreakers(
        ServiceCircuitBreaker(
            "storage", fakeredis.FakeRedis(server=server), check=service.check, reset=1.2
        )
    )
    assert there.may_start()
    service.away = True
    with pytest.raises(DependencyUnavailable):
        run(here, NetworkError())
    time.sleep(0.5)
    assert not there.may_start()
    service.away = False
    _soon(there.may_start)
    run(there, None)
    assert here.may_start()
    assert here.may_start()


@pytest.mark.parametrize("hours", [-1, 1])
def test_an_outage_ends_on_time_for_workers_whose_clocks_differ(
    server: fakeredis.FakeServer,
    circuit: ServiceCircuitBreaker,
    service: Service,
    hours: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = CircuitBreakers(circuit)
    there = CircuitBreakers(
        ServiceCircuitBreaker(
            "storage", fakeredis.FakeRedis(server=server), check=service.check, reset=1.2
        )
    )

    class ElsewhereNow(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(hours=hours)

    service.away = True
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(pybreaker, "datetime", ElsewhereNow)
        with pytest.raises(DependencyUnavailable) as away:
            run(there, NetworkError())
    assert away.value.retry_after is not None
    assert 1 < away.value.retry_after < 2
    assert not here.may_start()
    service.away = False
    _soon(here.may_start)
    run(here, None)
    assert here.may_start()
    assert here.may_start()


def test_an_open_circuit_lets_one_job_try_at_a_time_and_none_while_the_check_fails(
    circuit: ServiceCircuitBreaker, service: Service
) -> None:
    circuits = CircuitBreakers(circuit)
    service.away = True
    with pytest.raises(DependencyUnavailable):
        run(circuits, NetworkError())
    checked = service.checked
    _soon(lambda: circuits.may_start() or service.checked > checked)
    assert not circuits.may_start()
    service.away = False
    _soon(circuits.may_start)
    assert not circuits.may_start()


def test_a_try_that_fails_opens_the_circuit_again_without_costing_an_attempt(
    circuit: ServiceCircuitBreaker, service: Service
) -> None:
    circuits = CircuitBreakers(circuit)
    service.away = True
    with pytest.raises(DependencyUnavailable):
        run(circuits, NetworkError())
    service.away = False
    _soon(circuits.may_start)
    with pytest.raises(DependencyUnavailable):
        run(circuits, StorageError(), "trial")
    assert not circuits.may_start()


def test_patience_with_a_job_ends_so_that_it_ends_too(
    circuit: ServiceCircuitBreaker, service: Service
) -> None:
    service.away = True
    with pytest.raises(NetworkError):
        run(CircuitBreakers(circuit), NetworkError(), waited=PATIENCE + 1)


def test_a_source_that_fails_is_blamed_and_not_the_storage(
    server: fakeredis.FakeServer, circuit: ServiceCircuitBreaker, service: Service
) -> None:
    circuits = CircuitBreakers(
        circuit, ServiceCircuitBreaker("files.example", fakeredis.FakeRedis(server=server))
    )
    source = SourceErrorMarker(_Broken())  # type: ignore[arg-type]
    for job_id in "abc":
        with pytest.raises(SourceRateLimited) as failed:
            source.describe((1,), None, known={})  # type: ignore[arg-type]
        with pytest.raises(DependencyUnavailable if job_id == "c" else SourceRateLimited):
            run(circuits, failed.value, job_id)
    assert service.checked == 0
    assert not circuits.may_start()
    assert circuit.may_start()


def test_what_fails_while_a_source_is_open_is_not_its_fault() -> None:
    source = SourceErrorMarker(_Broken())  # type: ignore[arg-type]
    with (
        pytest.raises(StorageError) as failed,
        source.open(None, cancellation=None, progress=None),  # type: ignore[arg-type]
    ):
        raise StorageError
    assert not failed.value.from_source
    with (
        pytest.raises(NetworkError) as broken,
        source.open(None, cancellation=None, progress=None) as fill,  # type: ignore[arg-type]
    ):
        fill(memoryview(b""))
    assert broken.value.from_source


class _Broken:
    def describe(self, *_: object, **__: object) -> None:
        raise SourceRateLimited

    def open(self, *_: object, **__: object) -> AbstractContextManager[Callable[..., int]]:
        @contextmanager
        def opened() -> Any:
            def fill(_: memoryview) -> int:
                raise NetworkError

            yield fill

        return opened()


def _soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
