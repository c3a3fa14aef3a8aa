"""Checks the API's dependencies, all at the same time, within one second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

import structlog

from common.job_store.errors import describe

#: Seconds that all checks together may take.
TIMEOUT: Final = 1.0

log = structlog.get_logger(__name__)


class Health:
    """Named checks. A check fails if it raises an exception or does not return in time."""

    def __init__(
        self,
        required: Mapping[str, Callable[[], object]],
        optional: Mapping[str, Callable[[], object] | None],
        *,
        storage_capabilities: Callable[[], Mapping[str, bool] | None] = lambda: None,
    ) -> None:
        """Checks in ``optional`` do not make the service unhealthy; None if one is turned off.

        ``storage_capabilities`` reads what the workers found out about the object storage.
        """
        self.storage_capabilities = storage_capabilities
        self._required = frozenset(required)
        self._off = [name for name, check in optional.items() if check is None]
        self._checks = {**required, **{name: check for name, check in optional.items() if check}}
        # Enough threads for two rounds, so that checks that hang do not block the next round.
        self._threads = ThreadPoolExecutor(2 * len(self._checks), thread_name_prefix="health")

    def is_healthy(self, report: Mapping[str, str]) -> bool:
        """Return whether all required checks in a report are ok."""
        return all(report[name] == "ok" for name in self._required)

    def report(self) -> dict[str, str]:
        """Run the checks and return ``ok``, ``unavailable``, ``timeout`` or ``off`` by name."""
        futures = {name: self._threads.submit(check) for name, check in self._checks.items()}
        wait(futures.values(), timeout=TIMEOUT)
        report = dict.fromkeys(self._off, "off")
        for name, future in futures.items():
            if not future.done():
                future.cancel()
                report[name] = "timeout"
            elif error := future.exception():
                log.warning("health check failed", check=name, error=describe(error))
                report[name] = "unavailable"
            else:
                report[name] = "ok"
        return report
