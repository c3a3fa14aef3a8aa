"""The state of the service in one sentence, and why jobs wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from api.admin.service_summary import summary_of
from common.job_store import keys
from common.job_store.circuit_breaker_states import CircuitBreakerState
from common.job_store.queue_statistics import QueueState
from common.job_store.statistics_log import MAX_SAMPLES, Sample
from tests.unit.api.admin.test_overview import register
from tests.unit.api.conftest import OPERATOR, FakeStorage

MINUTE = 60_000
NOON = 1_800_000_000_000


def queue(**changes: Any) -> QueueState:
    members: dict[str, Any] = {
        "waiting": {"high": 0, "normal": 0, "low": 0},
        "oldest": {},
        **dict.fromkeys(("processing", "started", "retrying", "completed", "failed"), 0),
        **{"cancelled": 0, "dead_letters": 0, "paused": False, "durations": ()},
        **{"workers": 2, "slots": 8, "busy": 0},
    }
    return QueueState(**{**members, **changes})


def summary(
    state: QueueState | None = None,
    *,
    dependency_checks: dict[str, str] | None = None,
    breaker_states: dict[str, CircuitBreakerState] | None = None,
    samples: tuple[Sample, ...] = (),
) -> dict[str, Any]:
    return summary_of(
        state or queue(),
        dependency_checks={
            "redis": "ok",
            "storage": "ok",
            "history": "off",
            **(dependency_checks or {}),
        },
        breaker_states={"storage": "closed", **(breaker_states or {})},
        samples=lambda count: samples[-count:],
        min_success_rate=0.95,
    )


def codes(found: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in found["reasons"]]


def waiting(count: int = 3) -> dict[str, int]:
    return {"high": 0, "normal": count, "low": 0}


def test_all_is_well() -> None:
    assert summary() == {"level": "info", "message": "All well", "idleSince": None, "reasons": []}


def test_busy_workers_are_a_reason_to_wait_but_no_problem() -> None:
    found = summary(queue(waiting=waiting(), busy=8, processing=8, retrying=1))
    assert (found["level"], found["message"]) == ("info", "All well")
    assert sorted(codes(found)) == ["RETRYING", "WORKERS_BUSY"]


@pytest.mark.parametrize(
    ("changes", "level", "message", "code"),
    [
        ({"state": queue(paused=True)}, "warning", "The queue is paused", "PAUSED"),
        (
            {"state": queue(workers=0, slots=0)},
            "critical",
            "No workers are running",
            "NO_WORKERS",
        ),
        (
            {"breaker_states": {"storage": "open"}},
            "critical",
            "The object storage is unavailable",
            "CIRCUIT_OPEN",
        ),
        (
            {
                "breaker_states": {"storage": "half-open"},
                "dependency_checks": {"storage": "timeout"},
            },
            "critical",
            "The object storage is unavailable",
            "CIRCUIT_OPEN",
        ),
        (
            {"breaker_states": {"storage": "half-open"}},
            "warning",
            "The object storage was unavailable; the next job tries it again",
            "CIRCUIT_HALF_OPEN",
        ),
        (
            {"breaker_states": {"files.example": "open"}},
            "critical",
            "The file source files.example is unavailable",
            "CIRCUIT_OPEN",
        ),
        (
            {"dependency_checks": {"storage": "unavailable"}},
            "critical",
            "The object storage is unavailable",
            "STORAGE_UNAVAILABLE",
        ),
        (
            {"dependency_checks": {"storage": "unavailable"}, "state": queue(processing=1)},
            "warning",
            "The object storage does not respond to the API",
            "STORAGE_UNAVAILABLE",
        ),
        (
            {"dependency_checks": {"history": "timeout"}},
            "warning",
            "The history is unavailable",
            "HISTORY_UNAVAILABLE",
        ),
    ],
)
def test_a_problem_is_the_message(
    changes: dict[str, Any], level: str, message: str, code: str
) -> None:
    found = summary(**changes)
    assert (found["level"], found["message"], codes(found)) == (level, message, [code])


def test_the_worst_reason_comes_first() -> None:
    found = summary(
        queue(paused=True, retrying=1, workers=0, slots=0),
        dependency_checks={"history": "unavailable"},
    )
    assert found["message"] == "No workers are running"
    assert codes(found) == ["NO_WORKERS", "PAUSED", "HISTORY_UNAVAILABLE", "RETRYING"]


def test_many_failures_are_a_problem() -> None:
    samples = tuple(
        Sample(at=NOON + minute * MINUTE, completed=100, failed=minute) for minute in range(20)
    )
    # Of the last ten minutes: 11 failures of 20 jobs.
    found = summary(queue(completed=109, failed=21), samples=samples)
    assert (found["level"], found["message"]) == (
        "warning",
        "11 of the last 20 job runs failed",
    )
    few = summary(queue(completed=100, failed=19), samples=samples)
    assert few["message"] == "All well"


def test_counters_that_started_again_are_no_failures() -> None:
    samples = (Sample(at=NOON, completed=100, failed=50),)
    assert summary(queue(completed=1, failed=20), samples=samples)["message"] == "All well"


def test_the_summary_says_since_when_nothing_has_run() -> None:
    samples = (
        Sample(at=NOON, started=4, processing=2),
        Sample(at=NOON + MINUTE, started=7, processing=0),
        Sample(at=NOON + 2 * MINUTE, started=7),
        Sample(at=NOON + 3 * MINUTE, started=7),
    )
    down: dict[str, CircuitBreakerState] = {"storage": "open"}
    found = summary(queue(started=7, waiting=waiting()), breaker_states=down, samples=samples)
    assert found["idleSince"] == "2027-01-15T08:01:00.000Z"
    # A job was started after the newest sample.
    found = summary(queue(started=8, waiting=waiting()), breaker_states=down, samples=samples)
    assert found["idleSince"] is None
    assert summary(queue(started=7), breaker_states=down, samples=samples)["idleSince"] is None
    busy = queue(started=7, processing=1, waiting=waiting())
    assert summary(busy, breaker_states=down, samples=samples)["idleSince"] is None
    assert summary(queue(waiting=waiting()), breaker_states=down)["idleSince"] is None


def test_failing_jobs_stop_no_others() -> None:
    samples = tuple(Sample(at=NOON + minute * MINUTE, started=20) for minute in range(5))
    state = queue(started=20, completed=10, failed=10, retrying=2, waiting=waiting())
    found = summary(state, samples=samples)
    assert (found["message"], found["idleSince"]) == ("10 of the last 20 job runs failed", None)


def test_a_long_outage_is_found_in_the_samples_of_a_day() -> None:
    samples = tuple(Sample(at=NOON + minute * MINUTE, started=7) for minute in range(MAX_SAMPLES))
    found = summary(queue(started=7, waiting=waiting(), workers=0, slots=0), samples=samples)
    assert found["idleSince"] == "2027-01-15T08:00:00.000Z"


def test_the_overview_contains_the_summary(
    client: FlaskClient,
    post: Callable[..., Any],
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read() -> Any:
        return client.get("/v1/admin/overview", headers=OPERATOR).json["summary"]

    assert read()["message"] == "No workers are running"
    monkeypatch.setattr("common.job_store.worker_registry._run_id", lambda _: "server")
    register(redis, "worker-1")
    assert read()["message"] == "All well"
    redis.sadd(keys.breaker_failures("storage"), "open")
    redis.set(keys.breaker_wait("storage"), "open")
    assert read()["message"] == "The object storage is unavailable"


def test_the_overview_reports_a_storage_that_the_api_cannot_reach(
    client: FlaskClient, storage: FakeStorage
) -> None:
    storage.broken = True
    overview = client.get("/v1/admin/overview", headers=OPERATOR).json
    assert "STORAGE_UNAVAILABLE" in codes(overview["summary"])
