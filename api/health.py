"""Whether what the API stands on answers: all asked at once, each for at most a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

import structlog

#: Seconds that all checks together may take.
PATIENCE: Final = 1.0

log = structlog.get_logger(__name__)


class Health:
    """Named checks; one that raises or does not return in time is not ok."""

    def __init__(
        self,
        checks: Mapping[str, Callable[[], object]],
        extras: Mapping[str, Callable[[], object] | None],
        *,
        storage_findings: Callable[[], Mapping[str, bool] | None] = lambda: None,
    ) -> None:
        """``extras``: what the service can do its work without; None for one that is off.

        ``storage_findings``: what the workers saw the storage do, from the job store.
        """
        self.storage_findings = storage_findings
        self._needed = frozenset(checks)
        self._off = [name for name, check in extras.items() if check is None]
        checks = {**checks, **{name: check for name, check in extras.items() if check}}
        self._checks = checks
        # As many as two rounds of checks: those that hang must not hold up the next question.
        self._threads = ThreadPoolExecutor(2 * len(checks), thread_name_prefix="health")

    def is_well(self, report: Mapping[str, str]) -> bool:
        """Whether everything needed is ok in a report."""
        return all(report[name] == "ok" for name in self._needed)

    def report(self) -> dict[str, str]:
        """Name -> ``ok``, ``unavailable``, ``timeout`` or ``off``, within ``PATIENCE`` seconds."""
        futures = {name: self._threads.submit(check) for name, check in self._checks.items()}
        wait(futures.values(), timeout=PATIENCE)
        report = dict.fromkeys(self._off, "off")
        for name, future in futures.items():
            if not future.done():
                future.cancel()
                report[name] = "timeout"
            elif error := future.exception():
                log.warning("a health check failed", check=name, error=repr(error))
                report[name] = "unavailable"
            else:
                report[name] = "ok"
        return report
