"""When the attempts to deliver start."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

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

    deliverer = Deliverer(
        Deliveries(redis),
        SimpleNamespace(deliver=deliver),
        wants=lambda _: True,
        attempts=executor,
        max_attempts=1,
        max_duration=MAX_DURATION,
        counter=metrics.WEBHOOKS,
        lease=LEASE,
        clock=clock,
    )
    entry = terminal(jobs, redis)
    deliverer.schedule([entry])
    deliverer.deliver()
    clock.sleep(waited)
    executor.run()
    assert len(delivered) == sent
    ((record,),) = [Deliveries(redis).of_job(entry.job.id)]
    assert record.state == ("delivered" if sent else "pending")
