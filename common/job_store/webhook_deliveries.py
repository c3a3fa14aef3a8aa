"""The deliveries of webhooks: due, in progress and ended. They survive the worker they run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from common.errors import LeaseLost
from common.job_store import keys
from common.job_store.records import milliseconds
from common.job_store.scripts import Scripts, raise_for_code
from common.jobs import events
from common.jobs.model import Job, known_members

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.state_log import StateLogEntry

#: Milliseconds that a delivery and its attempts are kept after the last change: longer than the
#: longest pause between two attempts, and than the three days that all of them take.
TTL: Final = 4 * 86_400_000
#: Milliseconds by which deliveries are postponed whose user has enough in progress.
POSTPONE: Final = 1_000

#: ``gone``: the receiver responded with 410; ``failed``: no attempts are left.
DeliveryState = Literal["pending", "delivered", "gone", "failed"]
#: Why an attempt got no response.
POST_ERRORS: Final = ("refused", "unreachable", "timeout", "tls", "protocol")


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery:
    """A webhook claimed for one attempt."""

    #: The snapshot of the terminal state.
    job: Job
    #: 1 for the first.
    attempt: int
    #: Changes with each claim, so that only its holder can record the attempt.
    fencing_token: int

    @property
    def id(self) -> str:
        return message_id(self.job.id, self.job.version)


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt:
    """The outcome of one attempt."""

    attempt: int
    #: Milliseconds since 1970, by the worker's clock.
    at: int
    duration_ms: int
    #: The receiver's HTTP status; None without a response.
    status: int | None = None
    #: One of ``POST_ERRORS``; never text from the receiver.
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One webhook with all its attempts so far."""

    id: str
    job: Job
    state: DeliveryState
    #: Milliseconds since 1970; None unless pending after a failure.
    next_at: int | None
    attempts: tuple[DeliveryAttempt, ...]

    @property
    def type(self) -> str:
        return event_type(self.job)


def event_type(job: Job) -> str:
    """Return the webhook's event type, such as ``download.completed``."""
    return f"download.{job.status}"


def message_id(job_id: str, version: int) -> str:
    """Return the ``webhook-id``, which is the same for every attempt."""
    return f"msg_{job_id}_{version}"


class WebhookDeliveries:
    """All webhooks. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._scripts = Scripts(client)

    def schedule(self, entries: Sequence[StateLogEntry]) -> None:
        """Make a webhook due for each of these changes. Idempotent."""
        with self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                job = entry.job
                args = {
                    "id": job.id,
                    "version": job.version,
                    "job": entry.snapshot,
                    "keep": TTL,
                }
                self._scripts.queue(pipe, "webhook_schedule", keys.deliveries(job.id), args)
            pipe.execute()

    def claim(self, *, limit: int, lease: float, busy: Sequence[str] = ()) -> list[WebhookDelivery]:
        """Claim up to ``limit`` due deliveries of each partition for ``lease`` seconds.

        Those of ``busy`` users are postponed.
        """
        args = {
            "limit": limit,
            "lease": milliseconds(lease),
            "busy": orjson.dumps(busy).decode(),
            "postpone": POSTPONE,
        }
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                self._scripts.queue(
                    pipe, "webhook_claim", keys.of_partition("webhooks_due", tag), args
                )
            results = [raise_for_code(result)[1:] for result in pipe.execute()]
        return [
            WebhookDelivery(
                job=events.decode(job), attempt=int(attempts) + 1, fencing_token=int(token)
            )
            for values in results
            for job, attempts, token in zip(values[::3], values[1::3], values[2::3], strict=True)
        ]

    def record_attempt(
        self,
        delivery: WebhookDelivery,
        state: DeliveryState,
        entry: DeliveryAttempt,
        *,
        delay: float = 0.0,
    ) -> bool:
        """Record the outcome of an attempt; ``pending``: try again after ``delay`` seconds.

        Returns False if the lease had lapsed and another worker claimed the delivery.
        """
        args = {
            "id": delivery.job.id,
            "version": delivery.job.version,
            "fencing_token": delivery.fencing_token,
            "state": state,
            "delay": milliseconds(delay),
            "entry": orjson.dumps(entry).decode(),
            "keep": TTL,
        }
        try:
            self._scripts.call("webhook_record", keys.deliveries(delivery.job.id), args)
        except LeaseLost:
            return False
        return True

    def of_job(self, job_id: str) -> list[DeliveryRecord]:
        """Return the job's webhooks with all their attempts, oldest first."""
        versions: Any = self._client.zrange(keys.deliveries(job_id), 0, -1)
        with self._client.pipeline(transaction=False) as pipe:
            for version in versions:
                pipe.hgetall(keys.delivery(job_id, int(version)))
                pipe.lrange(keys.delivery_log(job_id, int(version)), 0, -1)
            results = pipe.execute()
        return [
            _record(fields, attempts)
            for fields, attempts in zip(results[::2], results[1::2], strict=True)
            if fields
        ]


def _record(fields: dict[str, str], attempts: Sequence[str]) -> DeliveryRecord:
    job = events.decode(fields["job"])
    return DeliveryRecord(
        id=message_id(job.id, job.version),
        job=job,
        state=fields["state"],  # type: ignore[arg-type]
        next_at=int(fields["next_at"]) if fields.get("next_at") else None,
        attempts=tuple(
            DeliveryAttempt(**known_members(DeliveryAttempt, orjson.loads(entry)))
            for entry in attempts
        ),
    )
