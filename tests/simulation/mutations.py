"""Faults of the product, put back one by one, to prove that the simulation finds them.

Each mutation undoes the fix of a mistake that the product once had, or leaves out something that
the product relies on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest import mock

import orjson

from common.job_store import jobs, scripts, state_log
from common.job_store.worker_registry import WorkerRegistry, WorkerState
from common.jobs.model import JobSpec
from tests.simulation import processes
from worker import deliverer
from worker.maintenance.stall_detector import StallDetector
from worker.webhooks import thread

Mutation = Callable[[], AbstractContextManager[object]]


@contextmanager
def stalled_workers_are_dead() -> Iterator[None]:
    """Believe every lease and every missing connection, even right after the store stalled.

    Even of workers that still extend their leases. And give up a connection after two seconds.
    """

    def dead(registry: WorkerRegistry) -> list[str]:
        silent = [(state, age) for state, age in registry._read() if age > 1_500]
        return [state.name for state in registry._without_connection(silent)]

    with (
        mock.patch.object(StallDetector, "leases_are_reliable", True),
        mock.patch.object(WorkerRegistry, "dead", dead),
        mock.patch.object(processes, "REGISTRATION_TIMEOUT", 2.0),
        _lua("sweep", "tonumber(args.dead_after)", "0"),
    ):
        yield


def silent_workers_are_dead() -> AbstractContextManager[object]:
    """Believe that a worker is dead that misses heartbeats, although it has its connection."""

    def without_connection(
        _: WorkerRegistry, workers: Iterable[tuple[WorkerState, int]]
    ) -> list[WorkerState]:
        return [state for state, _ in workers]

    return mock.patch.object(WorkerRegistry, "_without_connection", without_connection)


@contextmanager
def groups_are_not_created_again() -> Iterator[None]:
    """Leave a reader of the state log without its consumer group after FLUSHALL."""

    def run(_: state_log.StateLog, command: Callable[[], Any]) -> Any:
        return command()

    with mock.patch.object(state_log.StateLog, "_with_group", run):
        yield


@contextmanager
def _lua(verb: str, before: str, after: str) -> Iterator[None]:
    """Replace a piece of a script."""
    original = scripts.source

    def source(name: str, template: Any) -> str:
        text = original(name, template)
        if name != verb:
            return text
        assert before in text, f"{verb}.lua has changed: {before}"
        return text.replace(before, after)

    with mock.patch.object(scripts, "source", source):
        yield


def future_times_stay() -> AbstractContextManager[object]:
    """Keep times that lie in the future after the store's clock was set back."""
    return _lua("sweep", "\ncorrect_leases()\ncorrect_future_times()\n", "\n")


def leases_of_a_wrong_clock_expire() -> AbstractContextManager[object]:
    """Believe leases that were stored while the store's clock was set back for a moment."""
    return _lua("sweep", "if args.max_gap then", "if false then")


def poison_jobs_are_not_isolated() -> AbstractContextManager[object]:
    """Let a job that was lost with its workers run beside others again and again."""
    return _lua("claim", "local MAX_SHARED_LOSSES = 1\n", "local MAX_SHARED_LOSSES = 1000\n")


def unknown_members_are_errors() -> AbstractContextManager[object]:
    """Fail at a request that a newer release has stored with one more member."""

    def decode_spec(text: str) -> JobSpec:
        return JobSpec(**orjson.loads(text))

    return mock.patch.object(jobs, "decode_spec", decode_spec)


def all_wake_ups_are_sent_at_once() -> AbstractContextManager[object]:
    """Send the wake-ups of all queued jobs of a user when they are created."""
    return _lua("create", ", id) == 1 then", ", id) >= 1 then")


def fencing_tokens_count_claims() -> AbstractContextManager[object]:
    """Use a fencing token again when a failover has forgotten a claim."""
    return _lua("claim", "to_text(next_token(", "to_text(1 + (")


def late_results_count() -> AbstractContextManager[object]:
    """Accept the result of an attempt that has lost its lease."""
    return _lua("finish", " or job.fence ~= args.fencing_token", "")


def late_failures_count() -> AbstractContextManager[object]:
    """Accept the retryable failure of an attempt that has lost its lease."""
    return _lua("release", " or job.fence ~= args.fencing_token", "")


def returns_use_up_attempts() -> AbstractContextManager[object]:
    """Count an attempt that was returned to the queue because a dependency is unavailable."""
    return _lua("release", "fields.attempt = to_text(job.attempt - 1)", "")


def running_jobs_are_not_cancelled() -> AbstractContextManager[object]:
    """Accept the cancellation of a job that runs, and let it go on."""
    return _lua("cancel", "if job.status == 'cancelled'", "if job.status ~= 'queued'")


def failures_have_no_webhook() -> AbstractContextManager[object]:
    """Post a webhook only when a job completes or is cancelled."""
    original = thread.has_webhook

    def has_webhook(entry: state_log.StateLogEntry) -> bool:
        return original(entry) and entry.job.status != "failed"

    return mock.patch.object(thread, "has_webhook", has_webhook)


def webhooks_are_retried_late() -> AbstractContextManager[object]:
    """Wait for a year until a webhook is posted again."""
    return mock.patch.object(deliverer, "RETRY_DELAYS", (31_536_000,))


MUTATIONS: Final[dict[str, Mutation]] = {
    "stalls": stalled_workers_are_dead,
    "silence": silent_workers_are_dead,
    "nogroup": groups_are_not_created_again,
    "release": unknown_members_are_errors,
    "poison": poison_jobs_are_not_isolated,
    "clock": future_times_stay,
    "excursion": leases_of_a_wrong_clock_expire,
    "fencing": fencing_tokens_count_claims,
    "late_results": late_results_count,
    "late_failures": late_failures_count,
    "returns": returns_use_up_attempts,
    "cancellations": running_jobs_are_not_cancelled,
    "webhooks": failures_have_no_webhook,
    "backoff": webhooks_are_retried_late,
    "fairness": all_wake_ups_are_sent_at_once,
}
