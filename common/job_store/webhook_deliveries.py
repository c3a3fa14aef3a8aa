"""Webhooks that are due, under way and done: each survives the worker that was delivering it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from common.errors import LeaseLost
from common.job_store import keys
from common.job_store.scripts import Scripts, raise_for_code
from common.jobs import events
from common.jobs.model import Job

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.state_log import StateLogEntry

#: A delivery and its log are kept so long after its last change, milliseconds: longer than the
#: longest pause between two attempts, and than the three days that all of them take.
KEEP: Final = 4 * 86_400_000
#: When those of a user who has enough under way are looked at again, milliseconds.
LATER: Final = 1_000

#: ``gone``: the receiver answered 410; ``failed``: all attempts are used up.
DeliveryState = Literal["pending", "delivered", "gone", "failed"]
#: Why an attempt got no answer.
POST_ERRORS: Final = ("refused", "unreachable", "timeout", "tls", "protocol")


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery:
    """A webhook taken for one attempt."""

    #: As it was when it entered the terminal state.
    job: Job
    #: 1 for the first.
    attempt: int
    #: Names this taking, so that only its holder may settle it.
    fencing_token: int

    @property
    def id(self) -> str:
        return message_id(self.job.id, self.job.version)


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt:
    """How one attempt went."""

    attempt: int
    #: Milliseconds since 1970, by the deliverer's clock.
    at: int
    duration_ms: int
    #: The receiver's HTTP status; None where there was no answer.
    status: int | None = None
    #: One of ``POST_ERRORS``; never the receiver's own words.
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """What became of one webhook so far."""

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
    """What a webhook calls this state, such as ``download.completed``."""
    return f"download.{job.status}"


def message_id(job_id: str, version: int) -> str:
    """The ``webhook-id``: the same for every attempt to tell of this state."""
    return f"msg_{job_id}_{version}"


class WebhookDeliveries:
    """All webhooks. Raises ``redis.exceptions.RedisError`` when the store is away."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._scripts = Scripts(client)

    def schedule(self, entries: Sequence[StateLogEntry]) -> None:
        """Each of these changes is to be told of; one that is known already is left alone."""
        with self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                job = entry.job
                args = {
                    "id": job.id,
                    "version": job.version,
                    "job": entry.snapshot,
                    "keep": KEEP,
                }
                self._scripts.queue(pipe, "webhook_schedule", keys.deliveries(job.id), args)
            pipe.execute()

    def take(self, *, limit: int, lease: float, busy: Sequence[str] = ()) -> list[WebhookDelivery]:
        """Up to ``limit`` deliveries of each partition, nobody else's for ``lease`` seconds.

        Those of ``busy`` users are put off for ``LATER``.
        """
        args = {
            "limit": limit,
            "lease": round(lease * 1000),
            "busy": orjson.dumps(busy).decode(),
            "later": LATER,
        }
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                self._scripts.queue(
                    pipe, "webhook_take", keys.of_partition("webhooks_due", tag), args
                )
            results = [raise_for_code(result)[1:] for result in pipe.execute()]
        return [
            WebhookDelivery(
                job=events.decode(job), attempt=int(attempts) + 1, fencing_token=int(token)
            )
            for values in results
            for job, attempts, token in zip(values[::3], values[1::3], values[2::3], strict=True)
        ]

    def settle(
        self,
        delivery: WebhookDelivery,
        state: DeliveryState,
        entry: DeliveryAttempt,
        *,
        delay: float = 0.0,
    ) -> bool:
        """Note how an attempt went; ``pending``: to be tried again after ``delay`` seconds.

        False where the lease had lapsed, so that the delivery is another's by now.
        """
        args = {
            "id": delivery.job.id,
            "version": delivery.job.version,
            "fencing_token": delivery.fencing_token,
            "state": state,
            "delay": round(delay * 1000),
            "entry": orjson.dumps(entry).decode(),
            "keep": KEEP,
        }
        try:
            self._scripts.call("webhook_settle", keys.deliveries(delivery.job.id), args)
        except LeaseLost:
            return False
        return True

    def of_job(self, job_id: str) -> list[DeliveryRecord]:
        """The job's webhooks with all their attempts, oldest first."""
        versions: Any = self._client.zrange(keys.deliveries(job_id), 0, -1)
        with self._client.pipeline(transaction=False) as pipe:
            for version in versions:
                pipe.hgetall(keys.delivery(job_id, int(version)))
                pipe.lrange(keys.delivery_log(job_id, int(version)), 0, -1)
            found = pipe.execute()
        return [
            _record(fields, log)
            for fields, log in zip(found[::2], found[1::2], strict=True)
            if fields
        ]


def _record(fields: dict[str, str], log: Sequence[str]) -> DeliveryRecord:
    job = events.decode(fields["job"])
    return DeliveryRecord(
        id=message_id(job.id, job.version),
        job=job,
        state=fields["state"],  # type: ignore[arg-type]
        next_at=int(fields["next_at"]) if fields.get("next_at") else None,
        attempts=tuple(DeliveryAttempt(**orjson.loads(entry)) for entry in log),
    )
