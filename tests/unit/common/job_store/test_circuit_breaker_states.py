"""The states of circuit breakers as other processes read them."""

from __future__ import annotations

from redis import Redis

from common.errors import NetworkError
from common.job_store.circuit_breaker_states import STORAGE, CircuitBreakerStates
from stack.process import wait_until
from worker.circuit_breakers import FAILURE_THRESHOLD, CircuitBreaker


def test_states_follow_the_breakers_of_the_workers(redis: Redis) -> None:
    states = CircuitBreakerStates(redis, "files.example:8443")
    assert states.read() == {STORAGE: "closed", "files.example:8443": "closed"}

    breaker = CircuitBreaker("files.example:8443", redis, open_seconds=0.2)
    for number in range(FAILURE_THRESHOLD):
        breaker.record_failure(f"job-{number}", NetworkError())
    assert states.read() == {STORAGE: "closed", "files.example:8443": "open"}
    wait_until(lambda: states.read()["files.example:8443"] == "half-open", "the trial")
    assert breaker.allows_attempt()
    breaker.record_success()
    assert states.read()["files.example:8443"] == "closed"


def test_without_an_http_source_there_is_only_the_breaker_of_the_storage(redis: Redis) -> None:
    assert CircuitBreakerStates(redis).read() == {STORAGE: "closed"}
