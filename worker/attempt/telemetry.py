"""Makes an attempt observable: its ids in every log line, its spans, its metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from common.observability import tracing
from worker import metrics

if TYPE_CHECKING:
    from common.jobs.model import Job


@contextmanager
def observe_attempt(job: Job) -> Iterator[Callable[[Job | None], None]]:
    """Observe an attempt at a job that was just claimed.

    Yield a function to call with the job as the attempt left it, or None if it was interrupted.
    """
    started = time.monotonic()
    ids: dict[str, object] = {"job_id": job.id, "attempt": job.attempt}
    if job.traceparent:
        ids["trace_id"] = tracing.trace_id(job.traceparent)
    metrics.attempt_started(job)
    if job.attempt == 1:
        with tracing.span("queue", parent=job.traceparent, start=job.requested_at):
            pass  # It started when the job was requested, and the claim ended it.
    attributes = {"longhaul.job_id": job.id, "longhaul.attempt": job.attempt}
    with (
        structlog.contextvars.bound_contextvars(**ids),
        tracing.span(
            "attempt", kind="consumer", parent=job.traceparent, attributes=attributes
        ) as span,
    ):

        def attempt_ended(result: Job | None) -> None:
            outcome = metrics.attempt_ended(result, time.monotonic() - started)
            span.set("longhaul.outcome", outcome)
            if result is not None and result.failure is not None:
                span.fail(result.failure.code)

        yield attempt_ended
