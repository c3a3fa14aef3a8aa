"""The state of the service in one sentence, and the reasons why jobs wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from common.job_store.circuit_breaker_states import STORAGE
from common.job_store.statistics_log import MAX_SAMPLES
from common.jobs.presenter import iso

if TYPE_CHECKING:
    from common.job_store.circuit_breaker_states import CircuitBreakerState
    from common.job_store.queue_statistics import QueueState
    from common.job_store.statistics_log import Sample

#: Samples, about a minute apart, over which failures are counted.
RECENT_SAMPLES: Final = 10
#: Minimum number of job runs that ended in these samples. A job that is retried runs again.
MIN_ENDED: Final = 10
_FAILED_CHECKS: Final = ("unavailable", "timeout")


class Level(IntEnum):
    """How bad a reason is."""

    #: Jobs wait, as they should.
    INFO = 0
    #: Something needs attention.
    WARNING = 1
    #: No job runs.
    CRITICAL = 2


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why jobs wait or fail."""

    code: str
    level: Level
    message: str
    #: Whether no job starts because of it.
    stops_jobs: bool = False


def summary_of(
    state: QueueState,
    *,
    dependency_checks: Mapping[str, str],
    breaker_states: Mapping[str, CircuitBreakerState],
    samples: Callable[[int], Sequence[Sample]],
    min_success_rate: float,
) -> dict[str, Any]:
    """Return the summary as JSON members.

    ``dependency_checks``: by the API; ``breaker_states``: what the workers found out. ``samples``
    reads so many of the newest statistics, oldest first. ``min_success_rate``: 0 to 1.
    """
    recent = samples(RECENT_SAMPLES)
    reasons = sorted(
        (
            *_waits(state),
            *_outages(state, dependency_checks, breaker_states),
            *_failures(state, recent, min_success_rate),
        ),
        key=lambda each: -each.level,
    )
    worst = reasons[0] if reasons else None
    is_well = worst is None or worst.level is Level.INFO
    waits = sum(state.waiting.values()) + state.retrying > 0
    is_stopped = worst is not None and worst.stops_jobs and waits
    idle_since = _idle_since(state, samples(MAX_SAMPLES)) if is_stopped else None
    return {
        "level": Level.INFO.name.lower() if worst is None else worst.level.name.lower(),
        "message": "All well" if worst is None or is_well else worst.message,
        "idleSince": iso(idle_since),
        "reasons": [
            {"code": each.code, "level": each.level.name.lower(), "message": each.message}
            for each in reasons
        ],
    }


def _waits(state: QueueState) -> Iterator[Reason]:
    waiting = sum(state.waiting.values())
    if state.paused:
        paused = "The queue is paused"
        yield Reason(code="PAUSED", level=Level.WARNING, message=paused, stops_jobs=True)
    if not state.workers:
        missing = "No workers are running"
        yield Reason(code="NO_WORKERS", level=Level.CRITICAL, message=missing, stops_jobs=True)
    if waiting and state.workers and state.busy >= state.slots:
        busy = "All workers are busy"
        yield Reason(code="WORKERS_BUSY", level=Level.INFO, message=busy)
    if state.retrying:
        message = "Some jobs wait for their next attempt"
        yield Reason(code="RETRYING", level=Level.INFO, message=message)


def _failures(
    state: QueueState, samples: Sequence[Sample], min_success_rate: float
) -> Iterator[Reason]:
    failed, ended = _recently_failed(state, samples)
    if ended >= MIN_ENDED and 1 - failed / ended < min_success_rate:
        message = f"{failed:,} of the last {ended:,} job runs failed"
        yield Reason(code="JOBS_FAIL", level=Level.WARNING, message=message)


def _outages(
    state: QueueState,
    dependency_checks: Mapping[str, str],
    breaker_states: Mapping[str, CircuitBreakerState],
) -> Iterator[Reason]:
    for service, breaker in breaker_states.items():
        name = "The object storage" if service == STORAGE else f"The file source {service}"
        if breaker == "open" or (
            breaker == "half-open" and not _responds(service, dependency_checks)
        ):
            down = f"{name} is unavailable"
            yield Reason(code="CIRCUIT_OPEN", level=Level.CRITICAL, message=down, stops_jobs=True)
        elif breaker == "half-open":
            message = f"{name} was unavailable; the next job tries it again"
            yield Reason(
                code="CIRCUIT_HALF_OPEN", level=Level.WARNING, message=message, stops_jobs=True
            )
        elif service == STORAGE and dependency_checks.get(STORAGE) in _FAILED_CHECKS:
            # The workers may reach what this process does not.
            level = Level.WARNING if state.processing else Level.CRITICAL
            message = (
                f"{name} does not respond to the API"
                if state.processing
                else f"{name} is unavailable"
            )
            stopped = level is Level.CRITICAL
            yield Reason(
                code="STORAGE_UNAVAILABLE", level=level, message=message, stops_jobs=stopped
            )
    if dependency_checks.get("history") in _FAILED_CHECKS:
        message = "The history is unavailable"
        yield Reason(code="HISTORY_UNAVAILABLE", level=Level.WARNING, message=message)


def _responds(service: str, dependency_checks: Mapping[str, str]) -> bool:
    """Return whether a service is known to respond; the API checks only the storage."""
    return service == STORAGE and dependency_checks.get(STORAGE) == "ok"


def _recently_failed(state: QueueState, samples: Sequence[Sample]) -> tuple[int, int]:
    """Return how many job runs failed and how many ended since the oldest recent sample."""
    if not samples:
        return 0, 0
    since = samples[0]
    failed, completed = state.failed - since.failed, state.completed - since.completed
    # The counters start again when the job store is emptied.
    return (failed, failed + completed) if failed >= 0 and completed >= 0 else (0, 0)


def _idle_since(state: QueueState, samples: Sequence[Sample]) -> int | None:
    """Return since when no job was started or running, in ms.

    None if a job is running, if one was started after the newest sample, or without samples.
    """
    if state.processing:
        return None
    since = None
    for sample in reversed(samples):
        if sample.processing or sample.started != state.started:
            return since
        since = sample.at
    return since
