"""Creating a job: the checks, the limits, and the response body.

The route (``routes/downloads.py``) and the fast path (``fast_path/initiate.py``) share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api import metrics
from api.limits.plans import quota_exceeded
from api.limits.rate_limits import raise_if_exceeded
from common.errors import QuotaExceeded, RateLimited, TooManyActiveJobs
from common.jobs.model import Priority

if TYPE_CHECKING:
    from api.auth.callers import Caller
    from api.dependencies import Dependencies
    from api.limits.rate_limits import CreationCount
    from common.job_store.jobs import Accepted, CreationTerms
    from common.jobs.model import Job, JobSpec


def create_job(
    dependencies: Dependencies,
    creation: CreationCount,
    caller: Caller,
    spec: JobSpec,
    *,
    key: str | None,
    traceparent: str | None,
) -> Accepted:
    """Count the request and create its job, or find the existing one, in one round trip.

    ``key`` is the Idempotency-Key of the request.

    Raises ``RateLimited``, ``QueueFull``, ``FilesForbidden``, ``PriorityNotAllowed``,
    ``ValidationFailed``, ``TooManyActiveJobs``, ``QuotaExceeded``, ``IdempotencyKeyReused``, and
    ``RedisError`` or ``BackendUnavailable`` if the job store or the service that decides about
    files is unavailable.
    """
    raise_if_exceeded(creation.rate)
    plans = dependencies.plans
    terms = plans.named(caller.plan).terms(spec) if plans else None
    dependencies.queue_limit.check()
    grant = dependencies.file_access.grant(caller, spec)
    place = dependencies.forecaster.place(spec.priority)
    try:
        accepted = dependencies.jobs.create(
            caller.user,
            spec,
            grant=grant,
            idempotency_key=key,
            traceparent=traceparent,
            email=caller.email,
            rate=creation.by_user,
            place=place,
            terms=terms,
        )
    except RateLimited:
        raise RateLimited(retry_after=creation.rate.reset) from None
    except TooManyActiveJobs:
        raise _too_many_active_jobs(dependencies, terms) from None
    except QuotaExceeded:
        raise quota_exceeded() from None
    metrics.count_job_request(accepted.outcome)
    if accepted.outcome == "created":
        dependencies.queue_limit.count_accepted()
        dependencies.forecaster.count_accepted(accepted.job, place)
    return accepted


def restart_job(dependencies: Dependencies, caller: Caller, job_id: str) -> Job:
    """Queue a failed or incomplete job again.

    Raises ``JobNotFound``, ``FilesForbidden``, ``JobConflict``, ``TooManyActiveJobs``,
    ``QuotaExceeded`` and ``RedisError``.
    """
    plans = dependencies.plans
    terms = plans.named(caller.plan).restart_terms() if plans else None
    dependencies.file_access.require_download(caller, dependencies.queries.get(job_id))
    try:
        return dependencies.jobs.restart(job_id, by=dependencies.operators.requester(), terms=terms)
    except TooManyActiveJobs:
        raise _too_many_active_jobs(dependencies, terms) from None
    except QuotaExceeded:
        raise quota_exceeded() from None


def count_creation(dependencies: Dependencies, caller: Caller, address: str) -> CreationCount:
    """Count a request for a new job for its address, without I/O."""
    creation = dependencies.rate_limiter.count_creation_by_address(address)
    if dependencies.plans is not None:
        creation.by_user.limit = dependencies.plans.named(caller.plan).creates_per_minute
    return creation


def default_priority(dependencies: Dependencies, caller: Caller) -> Priority:
    """Return the priority of a request that has none."""
    plans = dependencies.plans
    return plans.named(caller.plan).default_priority if plans else Priority.NORMAL


def _too_many_active_jobs(
    dependencies: Dependencies, terms: CreationTerms | None
) -> TooManyActiveJobs:
    limit = terms.max_active if terms else dependencies.jobs.limits.max_active
    downloads = "1 download" if limit == 1 else f"{limit} downloads"
    return TooManyActiveJobs(
        f"You already have {downloads} in progress. Wait for one or cancel one."
    )


def outcome_message(accepted: Accepted) -> str:
    """Return the sentence that tells people whether a new job was created."""
    if accepted.outcome == "deduplicated":
        return "An identical request is already running."
    return "The download has been queued."


def accepted_body(
    dependencies: Dependencies,
    job: Job,
    base_url: str,
    message: str,
    *,
    deduplicated: bool = False,
) -> dict[str, Any]:
    """Return the response body: the job and the URLs to follow it."""
    ticket = dependencies.job_tickets.issue(job.id, job.user)
    subscribe_url = f"{base_url}/v1/download/subscribe/{job.id}?ticket={ticket}"
    return {
        **dependencies.presenter.present(job),
        "message": message,
        "totalFileIds": job.total_files,
        "deduplicated": deduplicated,
        "statusUrl": f"{base_url}/v1/download/status/{job.id}",
        "subscribeUrl": subscribe_url,
        # http -> ws, https -> wss
        "webSocketUrl": "ws" + subscribe_url.removeprefix("http"),
        "resultUrl": f"{base_url}/v1/download/{job.id}?ticket={ticket}",
        "cancelUrl": f"{base_url}/v1/download/cancel/{job.id}",
        "pollingInterval": dependencies.polling_interval_ms,
    }
