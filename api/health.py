"""Checks the API's dependencies, all at the same time, within one second.

Ready means that a job can be accepted, so only the job store is required. While the object storage
or PostgreSQL is unavailable, jobs wait; rejecting them would turn that outage into a total one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

import structlog

from api.shared_result import MAX_AGE, SharedResult
from common.job_store.errors import describe

#: Seconds that all checks together may take.
TIMEOUT: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """The result of all checks at one moment."""

    #: Whether all required checks are ok.
    healthy: bool
    #: ``ok``, ``unavailable``, ``timeout`` or ``off`` by name.
    checks: Mapping[str, str]
    #: What the workers found out about the object storage, if they have already.
    storage_capabilities: Mapping[str, bool] | None


class Health:
    """Named checks. A check fails if it raises an exception or does not return in time."""

    def __init__(
        self,
        required: Mapping[str, Callable[[], object]],
        optional: Mapping[str, Callable[[], object] | None],
        *,
        storage_capabilities: Callable[[], Mapping[str, bool] | None] = lambda: None,
        max_age: float = MAX_AGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Checks in ``optional`` do not make the service unhealthy; None if one is turned off.

        ``storage_capabilities`` reads what the workers found out about the object storage.
        ``max_age``: seconds for which a report is used again, however many probes ask for it.
        """
        self._storage_capabilities = storage_capabilities
        self._required = frozenset(required)
        self._off = [name for name, check in optional.items() if check is None]
        self._checks = {**required, **{name: check for name, check in optional.items() if check}}
        # Enough threads for two rounds, so that checks that hang do not block the next round.
        self._threads = ThreadPoolExecutor(2 * len(self._checks) + 2, thread_name_prefix="health")
        self._reports = SharedResult(self._run_checks, max_age=max_age, clock=clock)

    def report(self) -> HealthReport:
        """Return a report that is at most ``max_age`` old, by default a second."""
        return self._reports.get()

    def _run_checks(self) -> HealthReport:
        futures: dict[str, Future[object]] = {
            name: self._threads.submit(check) for name, check in self._checks.items()
        }
        capabilities: Future[Any] = self._threads.submit(self._storage_capabilities)
        wait((*futures.values(), capabilities), timeout=TIMEOUT)
        checks = dict.fromkeys(self._off, "off")
        for name, future in futures.items():
            if not future.done():
                future.cancel()
                checks[name] = "timeout"
            elif error := future.exception():
                log.warning("health check failed", check=name, error=describe(error))
                checks[name] = "unavailable"
            else:
                checks[name] = "ok"
        is_known = capabilities.done() and capabilities.exception() is None
        capabilities.cancel()
        return HealthReport(
            healthy=all(checks[name] == "ok" for name in self._required),
            checks=checks,
            storage_capabilities=capabilities.result() if is_known else None,
        )
