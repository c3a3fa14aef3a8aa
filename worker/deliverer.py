"""Schedules the deliveries of one kind, webhooks or emails, and makes the attempts that are due."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from redis.exceptions import RedisError

from common.job_store.errors import log_errors, log_failure

if TYPE_CHECKING:
    import prometheus_client

    from common.clock import Clock
    from common.job_store.deliveries import (
        Deliveries,
        Delivery,
        DeliveryAttempt,
        DeliveryState,
        Exchange,
    )
    from common.job_store.state_log import StateLogEntry

#: Seconds to wait after the first, second, … failed attempt: ten attempts within three days.
RETRY_DELAYS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 57_600, 86_400)
#: Concurrent attempts for one user, so that a receiver that hangs does not block the others.
MAX_ATTEMPTS_PER_USER: Final = 2
#: Deliveries claimed at once from each of the 16 partitions: at most three rounds of attempts.
CLAIMED_PER_PARTITION: Final = 1
#: Seconds for which a claimed delivery is reserved: longer than three rounds of attempts.
LEASE: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeliveryOutcome:
    """The result of an attempt, and what follows from it for the delivery."""

    state: DeliveryState
    attempt: DeliveryAttempt
    #: Seconds until the next attempt, for ``pending``.
    delay: float = 0.0
    #: The same if a replay was requested during this attempt, which is then its first one.
    replay_delay: float = RETRY_DELAYS[0]
    exchange: Exchange | None = None


class Sender(Protocol):
    """Makes attempts to deliver. Thread safe."""

    def deliver(self, delivery: Delivery) -> DeliveryOutcome:
        """Make one attempt. A ``RedisError`` means that it was not made."""


class Deliverer:
    """The deliveries of one kind. Not thread safe; the attempts run in ``executor``."""

    def __init__(
        self,
        deliveries: Deliveries,
        sender: Sender,
        *,
        wants: Callable[[StateLogEntry], bool],
        executor: Executor,
        max_attempts: int,
        max_duration: float,
        counter: prometheus_client.Counter,
        lease: float = LEASE,
        clock: Clock = time,
    ) -> None:
        """``wants`` tells whether a state change is delivered.

        ``executor`` runs the attempts, at most ``max_attempts`` at the same time, each for at most
        ``max_duration`` seconds. ``counter`` counts those that are recorded, by the state of the
        delivery after them.
        """
        self._deliveries = deliveries
        self._sender = sender
        self._wants = wants
        self._executor = executor
        self._max_attempts = max_attempts
        self._counter = counter
        #: Seconds after a claim in which an attempt may start, so that it ends within the lease.
        self._start_within = lease - max_duration
        self._lease = lease
        self._clock = clock
        #: Unfinished attempts, with their users.
        self._running: dict[Future[None], str] = {}

    def stop(self) -> None:
        """Start no more attempts. Those that do not finish are repeated by another process."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def schedule(self, changes: Sequence[StateLogEntry]) -> None:
        """Schedule a delivery for each of these state changes that is wanted."""
        if wanted := [entry for entry in changes if self._wants(entry)]:
            self._deliveries.schedule(wanted)

    def deliver(self) -> None:
        """Start the attempts that are due, up to the limit of concurrent ones."""
        self._running = {run: user for run, user in self._running.items() if not run.done()}
        if len(self._running) >= self._max_attempts:
            return
        running = Counter(self._running.values())
        busy = [user for user, count in running.items() if count >= MAX_ATTEMPTS_PER_USER]
        start_by = self._clock.monotonic() + self._start_within
        for delivery in self._deliveries.claim(
            limit=CLAIMED_PER_PARTITION, lease=self._lease, busy=busy
        ):
            run = self._executor.submit(self._deliver, delivery, start_by)
            self._running[run] = delivery.job.user

    def _deliver(self, delivery: Delivery, start_by: float) -> None:
        if self._clock.monotonic() > start_by:
            # The lease may end before the attempt does, and another process would repeat it.
            log.warning("delivery not attempted, its lease ends too soon", delivery_id=delivery.id)
            return
        try:
            outcome = self._sender.deliver(delivery)
        except RedisError as error:
            log_failure(log, "attempt not made, it will be repeated", error)
        except Exception:
            log.exception("delivery raised an unexpected error", delivery_id=delivery.id)
        else:
            with log_errors(log, "result of an attempt not recorded, it will be repeated"):
                self._record(delivery, outcome)

    def _record(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        state = self._deliveries.record_attempt(
            delivery,
            outcome.state,
            outcome.attempt,
            delay=outcome.delay,
            replay_delay=outcome.replay_delay,
            exchange=outcome.exchange,
        )
        if state is not None:
            self._counter.labels(state).inc()


def outcome_of_failure(attempt: DeliveryAttempt, *, replayed_after: int) -> DeliveryOutcome:
    """Return what follows from an attempt that may be repeated.

    ``replayed_after``: attempts before the latest replay, which started the retries again.
    """
    failures = attempt.attempt - replayed_after
    if failures > len(RETRY_DELAYS):
        return DeliveryOutcome(state="failed", attempt=attempt)
    return DeliveryOutcome(
        state="pending", attempt=attempt, delay=float(RETRY_DELAYS[failures - 1])
    )
