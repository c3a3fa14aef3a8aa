"""Circuit breakers around the storage and each source host, shared by all workers.

While a service is away jobs wait instead of burning attempts: those not begun stay in the queue,
those under way are handed back. A service counts as away when it does not even answer a check, or
when several different jobs in a row fail by it: a single job that always fails is no outage.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError
from redis.exceptions import RedisError

from common.errors import (
    DependencyUnavailable,
    DownloadError,
    DownloadTimeout,
    NetworkError,
    SourceRateLimited,
    StorageError,
    TemporaryUnavailable,
)
from common.job_store import keys
from common.jobs.model import Artifact
from common.object_storage import BadChecksum
from worker.breaker_storage import BreakerStorage

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.jobs import Claim
    from worker.attempt.control import Control
    from worker.attempt.runner import Build

#: Different jobs that fail in a row until the service is taken to be away.
FAILURES: Final = 3
#: Seconds until an open circuit lets a job try.
RESET: Final = 5.0
#: Seconds between two jobs that try, as long as none has come through.
TRIAL_EVERY: Final = 1.0
#: For how long a job may be handed back for free after its first start, seconds.
PATIENCE: Final = 3_600.0
#: Seconds for which what was read of the shared state is believed.
_BELIEVED: Final = 0.5

_COUNTED: Final = (NetworkError, TemporaryUnavailable, SourceRateLimited, StorageError)

log = structlog.get_logger(__name__)


class ServiceCircuitBreaker:
    """One service. Thread safe; without the job store every circuit is closed."""

    def __init__(
        self,
        name: str,
        client: Redis,
        *,
        check: Callable[[], None] | None = None,
        reset: float = RESET,
    ) -> None:
        """``client`` gives bytes. ``check`` raises a ``DownloadError`` when the service is away."""
        self.name = name
        self._client = client
        self._check = check
        self._reset = reset
        self._storage: BreakerStorage | None = None
        self._breaker: CircuitBreaker | None = None
        self._healthy_until = 0.0

    def may_start(self) -> bool:
        """Whether a job that needs the service may start: it is there, or has to be tried."""
        breaker = self._shared()
        if breaker is None or self._healthy(breaker):
            return True
        if breaker.current_state == STATE_CLOSED:
            return True
        return self._left() <= 0 and self._is_trial() and self._passes_check(breaker)

    def succeeded(self) -> None:
        """A job that needed the service has ended well."""
        breaker = self._shared()
        if breaker is None or self._healthy(breaker):
            return
        _tell(breaker, None)
        if breaker.current_state == STATE_CLOSED:
            log.info("service is back", service=self.name)

    def failed(self, job_id: str, error: DownloadError) -> bool:
        """A job failed by the service: whether that is because the service is away."""
        breaker = self._shared()
        if breaker is None:
            return False
        self._healthy_until = 0.0
        if self._check is not None and not self._passes_check(breaker):
            return True
        if isinstance(error, _COUNTED) and self._is_news(job_id):
            _tell(breaker, error)
        return bool(breaker.current_state != STATE_CLOSED)

    def delay(self) -> float:
        """Seconds until a job that was handed back should be looked at again."""
        return max(0.0, self._left()) + self._reset * random.uniform(0.05, 0.3)  # noqa: S311

    def _shared(self) -> CircuitBreaker | None:
        if self._breaker is None:
            try:
                self._storage = BreakerStorage(
                    self._client, namespace=keys.breaker(self.name), reset=self._reset
                )
            except RedisError as error:
                log.warning("circuit is not known", service=self.name, error=str(error))
                return None
            self._breaker = CircuitBreaker(
                fail_max=FAILURES,
                reset_timeout=self._reset,
                state_storage=self._storage,
                name=self.name,
            )
        return self._breaker

    def _healthy(self, breaker: CircuitBreaker) -> bool:
        """Closed and without a failure, by what was read within the last half second."""
        if time.monotonic() >= self._healthy_until:
            if breaker.current_state != STATE_CLOSED or breaker.fail_counter:
                return False
            self._healthy_until = time.monotonic() + _BELIEVED
        return True

    def _left(self) -> float:
        """Seconds until an open circuit may be tried."""
        return self._storage.left() if self._storage else 0.0

    def _passes_check(self, breaker: CircuitBreaker) -> bool:
        if self._check is None:
            return True
        try:
            self._check()
        except DownloadError as error:
            log.warning("service is away", service=self.name, reason=error.message)
            breaker.open()
            return False
        return True

    def _is_trial(self) -> bool:
        return self._first("trial", TRIAL_EVERY)

    def _is_news(self, job_id: str) -> bool:
        """Whether this job's failure was not counted yet: three failures of one job are one."""
        return self._first(f"failed:{job_id}", 60.0)

    def _first(self, what: str, seconds: float) -> bool:
        key = f"{keys.breaker(self.name)}:{what}"
        try:
            return bool(self._client.set(key, 1, nx=True, px=round(seconds * 1000)))
        except RedisError:
            return True


def _tell(breaker: CircuitBreaker, error: DownloadError | None) -> None:
    """How a job ended. Told afterwards: the library's ``call`` lets one job run at a time."""

    def outcome() -> None:
        if error is not None:
            raise error

    try:
        breaker.call(outcome)
    except (CircuitBreakerError, DownloadError):
        return


class CircuitBreakers:
    """The circuits of all services that a job needs."""

    def __init__(
        self, storage: ServiceCircuitBreaker, source: ServiceCircuitBreaker | None = None
    ) -> None:
        """``source``: the circuit of the source's host; None where files lie in the storage."""
        self._storage = storage
        self._source = source
        self._all = (storage,) if source is None else (source, storage)

    def may_start(self) -> bool:
        """Whether it makes sense to begin a job now."""
        return all(circuit.may_start() for circuit in self._all)

    def guard(self, build: Build) -> Build:
        """``build``, raising ``ServiceAway`` where a service is to blame and not the job."""

        def guarded(claim: Claim, control: Control) -> Artifact:
            try:
                artifact = build(claim, control)
            except DownloadError as error:
                circuit = self._blamed(error)
                if circuit is None or not circuit.failed(claim.job.id, error) or _tired(claim):
                    raise
                raise DependencyUnavailable(error.message, retry_after=circuit.delay()) from error
            for circuit in self._all:
                circuit.succeeded()
            return artifact

        return guarded

    def _blamed(self, error: DownloadError) -> ServiceCircuitBreaker | None:
        suspicious = isinstance(error, (*_COUNTED, DownloadTimeout)) and error.retryable
        if not suspicious or isinstance(error, BadChecksum):
            return None
        return self._source if error.from_source else self._storage


def _tired(claim: Claim) -> bool:
    """The job was begun so long ago that its failures count again, whoever is to blame."""
    started_at = claim.job.started_at or claim.job.updated_at
    return claim.job.updated_at - started_at > PATIENCE * 1000
