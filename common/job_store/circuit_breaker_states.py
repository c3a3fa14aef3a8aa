"""The states of the circuit breakers, which the workers keep in the job store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis

CircuitBreakerState = Literal["closed", "half-open", "open"]

#: The breaker of the object storage. That of an HTTP source is named by its host.
STORAGE: Final = "storage"


def state_of(*, is_open: bool, wait: str | None) -> CircuitBreakerState:
    """Return a breaker's state from its keys."""
    if not is_open:
        return "closed"
    return "open" if wait == "open" else "half-open"


class CircuitBreakerStates:
    """Reads the states of all breakers. Raises ``RedisError``."""

    def __init__(self, client: Redis, source_host: str | None = None) -> None:
        """``source_host``: the host of an HTTP source."""
        self._client = client
        self._services: Sequence[str] = (STORAGE, source_host) if source_host else (STORAGE,)

    def read(self) -> dict[str, CircuitBreakerState]:
        """Return the state of each service's breaker."""
        with self._client.pipeline(transaction=False) as pipe:
            for service in self._services:
                pipe.sismember(keys.breaker_failures(service), "open")
                pipe.get(keys.breaker_wait(service))
            results = pipe.execute()
        return {
            service: state_of(is_open=bool(is_open), wait=wait)
            for service, is_open, wait in zip(
                self._services, results[::2], results[1::2], strict=True
            )
        }
