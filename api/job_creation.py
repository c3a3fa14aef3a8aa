"""Accepting a job: what the route and the quick way ahead of Flask (quick_initiate.py) share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api import metrics
from api.rate_limits import refuse_excess
from common.errors import RateLimited

if TYPE_CHECKING:
    from api.dependencies import Dependencies
    from api.rate_limits import Creation
    from common.job_store.jobs import Accepted
    from common.jobs.model import Job, JobSpec


def accept(
    context: Dependencies,
    creation: Creation,
    user: str,
    spec: JobSpec,
    *,
    key: str | None,
    traceparent: str | None,
) -> Accepted:
    """Count the request and make its job, or find the one that is there: one round trip.

    Raises ``RateLimited``, ``QueueFull``, ``TooManyActiveJobs``, ``IdempotencyKeyReused``, and
    ``RedisError`` or ``BackendUnavailable`` when the store is away.
    """
    refuse_excess(creation.rate)
    context.admission.check()
    try:
        accepted = context.jobs.create(
            user, spec, idempotency_key=key, traceparent=traceparent, quota=creation.quota
        )
    except RateLimited:
        raise RateLimited(retry_after=creation.rate.reset) from None
    metrics.requested(accepted.outcome)
    if accepted.outcome == "created":
        context.admission.accepted()
    return accepted


def message(accepted: Accepted) -> str:
    """What became of the request, for people."""
    if accepted.outcome == "deduplicated":
        return "This request is in flight already"
    return "The job is accepted"


def description(
    context: Dependencies, job: Job, base: str, message: str, *, deduplicated: bool = False
) -> dict[str, Any]:
    """The job and where to go on from it; ``base`` is what URLs begin with."""
    ticket = context.tickets.issue(job.id, job.user)
    live = f"{base}/v1/download/subscribe/{job.id}?ticket={ticket}"
    return {
        **context.presenter.present(job),
        "message": message,
        "totalFileIds": job.total_files,
        "deduplicated": deduplicated,
        "statusUrl": f"{base}/v1/download/status/{job.id}",
        "subscribeUrl": live,
        # http -> ws, https -> wss
        "webSocketUrl": "ws" + live.removeprefix("http"),
        "resultUrl": f"{base}/v1/download/{job.id}",
        "cancelUrl": f"{base}/v1/download/cancel/{job.id}",
        "pollingInterval": context.polling_interval_ms,
    }
