"""What can be seen of an attempt: its ids in every line of the log, its spans, its figures."""

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
def watched(job: Job) -> Iterator[Callable[[Job | None], None]]:
    """Around an attempt at a job just claimed; yields what is to be told how it left the job."""
    began = time.monotonic()
    ids: dict[str, object] = {"job_id": job.id, "attempt": job.attempt}
    if job.traceparent:
        ids["trace_id"] = tracing.trace_id(job.traceparent)
    metrics.attempt_began(job)
    if job.attempt == 1:
        with tracing.span("queue", parent=job.traceparent, start=job.created_at):
            pass  # Over since the claim: it only has a beginning to tell.
    about = {"longhaul.job_id": job.id, "longhaul.attempt": job.attempt}
    with (
        structlog.contextvars.bound_contextvars(**ids),
        tracing.span("attempt", kind="consumer", parent=job.traceparent, attributes=about) as span,
    ):

        def done(ended: Job | None) -> None:
            outcome = metrics.attempt_ended(ended, time.monotonic() - began)
            span.set("longhaul.outcome", outcome)
            if ended is not None and ended.failure is not None:
                span.fail(ended.failure.code)

        yield done
