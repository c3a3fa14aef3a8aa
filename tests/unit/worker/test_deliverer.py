"""When the attempts to deliver start."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.clock import Clock
from common.job_store.deliveries import Deliveries, Delivery, DeliveryAttempt
from common.job_store.jobs import JobStore
from tests.unit.common.job_store.test_deliveries import terminal
from tests.unit.worker.attempt.test_runner import FastClock
from worker import metrics
from worker.deliverer import Deliverer, DeliveryOutcome

LEASE, MAX_DURATION = 60.0, 15.0


class ManualExecutor(Executor):
    """Runs what was submitted when the test says so."""

    def __init__(self) -> None:
        self._submitted: list[Callable[[], object]] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._submitted.append(lambda: function(*args, **kwargs))
        return Future()

    def run(self) -> None:
        for call in self._submitted:
            call()


def deliverer_of(
    redis: Redis,
    deliver: Callable[[Delivery], DeliveryOutcome],
    executor: Executor,
    *,
    counter: Counter = metrics.WEBHOOKS,
    clock: Clock = time,
) -> Deliverer:
    return Deliverer(
        Deliveries(redis),
        SimpleNamespace(deliver=deliver),
        wants=lambda _: True,
        executor=executor,
        max_attempts=1,
        max_duration=MAX_DURATION,
        counter=counter,
        lease=LEASE,
        clock=clock,
    )


@pytest.mark.parametrize(
    ("waited", "sent"), [(LEASE - MAX_DURATION - 1, 1), (LEASE - MAX_DURATION + 1, 0)]
)
def test_an_attempt_that_could_outlast_its_claim_is_left_to_another_process(
    jobs: JobStore, redis: Redis, waited: float, sent: int
) -> None:
    clock, executor, delivered = FastClock(), ManualExecutor(), []

    def deliver(delivery: Delivery) -> DeliveryOutcome:
        delivered.append(delivery.id)
        attempt = DeliveryAttempt(attempt=delivery.attempt, at=0, duration_ms=1, status=200)
        return DeliveryOutcome(state="delivered", attempt=attempt)

    deliverer = deliverer_of(redis, deliver, executor, clock=clock)
    entry = terminal(jobs, redis)
    deliverer.schedule([entry])
    deliverer.deliver()
    clock.sleep(waited)
    executor.run()
    assert len(delivered) == sent
    ((record,),) = [Deliveries(redis).of_job(entry.job.id)]
    assert record.state == ("delivered" if sent else "pending")


@pytest.fixture
def counter() -> Counter:
    return Counter("attempts", "Attempts", ["state"], registry=CollectorRegistry())


def counts(counter: Counter) -> dict[str, float]:
    (metric,) = counter.collect()
    return {
        sample.labels["state"]: sample.value
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def test_an_attempt_is_counted_with_the_state_in_which_it_left_the_delivery(
    jobs: JobStore, redis: Redis, counter: Counter
) -> None:
    deliveries, executor = Deliveries(redis), ManualExecutor()
    change = terminal(jobs, redis)

    def fail(delivery: Delivery) -> DeliveryOutcome:
        attempt = DeliveryAttempt(attempt=delivery.attempt, at=0, duration_ms=1, status=500)
        # An owner of the job sends the webhook again just now.
        deliveries.replay(change.job.id, change.job.version)
        return DeliveryOutcome(state="failed", attempt=attempt)

    deliveries.schedule([change])
    (first,) = deliveries.claim(limit=1, lease=LEASE)
    attempt = DeliveryAttempt(attempt=1, at=0, duration_ms=1, status=500)
    deliveries.record_attempt(first, "pending", attempt)
    deliverer_of(redis, fail, executor, counter=counter).deliver()
    executor.run()
    assert counts(counter) == {"pending": 1}
    # The same claim again, which has lost its lease by that.
    executor.run()
    assert counts(counter) == {"pending": 1}


def test_an_attempt_that_was_not_made_is_neither_counted_nor_recorded(
    jobs: JobStore, redis: Redis, counter: Counter
) -> None:
    def fail(_: Delivery) -> DeliveryOutcome:
        raise RedisConnectionError("gone")

    executor = ManualExecutor()
    change = terminal(jobs, redis)
    deliverer = deliverer_of(redis, fail, executor, counter=counter)
    deliverer.schedule([change])
    deliverer.deliver()
    with structlog.testing.capture_logs() as logs:
        executor.run()
    assert [entry["event"] for entry in logs] == ["attempt not made, it will be repeated"]
    assert counts(counter) == {}
    (record,) = Deliveries(redis).of_job(change.job.id)
    assert record.attempts == ()
