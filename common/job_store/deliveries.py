"""The deliveries of webhooks and emails: due, in progress and ended.

They are stored in the job store, so they survive the worker that sends them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import orjson
import structlog

from common.errors import DeliveryNotFound, LeaseLost
from common.job_store import keys
from common.job_store.errors import successes
from common.job_store.records import milliseconds
from common.job_store.scripts import Scripts
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
#: Attempts that are kept of a delivery, and those of which the headers are kept.
MAX_ATTEMPTS: Final = 50
MAX_EXCHANGES: Final = 3
#: Deliveries that are listed per user, and that one call replays.
MAX_LISTED: Final = 10_000
MAX_REPLAYED: Final = 500

DeliveryKind = Literal["webhook", "email"]
#: ``gone``: the receiver responded with 410 or, for an email, the archive no longer exists;
#: ``failed``: no attempts are left, or the mail server rejected the email for good.
DeliveryState = Literal["pending", "delivered", "gone", "failed"]
#: Why an attempt got no response. ``refused``: Longhaul does not connect to such an address. If the
#: receiver refuses the connection, it is ``unreachable``.
POST_ERRORS: Final = ("refused", "unreachable", "timeout", "tls", "protocol")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook or email claimed for one attempt."""

    #: The snapshot of the terminal state.
    job: Job
    #: 1 for the first.
    attempt: int
    #: Attempts before the latest replay.
    replayed_after: int = 0
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
    #: The receiver's HTTP status or SMTP reply code; None without a response.
    status: int | None = None
    #: One of ``POST_ERRORS``, or for an email the reason why its address cannot be used; never text
    #: from the receiver.
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What was sent and received in one attempt: headers without secrets, of limited size."""

    attempt: int
    #: The origin of the receiver's URL.
    url: str
    request_headers: Mapping[str, str]
    #: None without a response.
    response_headers: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One webhook with all its attempts so far."""

    id: str
    job: Job
    state: DeliveryState
    #: Milliseconds since 1970; None unless pending after a failure.
    next_at: int | None
    attempts: tuple[DeliveryAttempt, ...]
    #: Of the latest attempts, by their numbers.
    exchanges: Mapping[int, Exchange]

    @property
    def type(self) -> str:
        return event_type(self.job)


def event_type(job: Job) -> str:
    """Return the webhook's event type, such as ``download.completed``."""
    return f"download.{job.status}"


def message_id(job_id: str, version: int) -> str:
    """Return the ``webhook-id``, which is the same for every attempt."""
    return f"msg_{job_id}_{version}"


class Deliveries:
    """All deliveries of one kind. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis, kind: DeliveryKind = "webhook") -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._kind = kind

    def schedule(self, entries: Sequence[StateLogEntry]) -> None:
        """Make a delivery due for each of these changes. Idempotent."""
        self._scripts.run_many(
            "delivery_schedule",
            [(keys.deliveries(entry.job.id), self._schedule_args(entry)) for entry in entries],
        )

    def _schedule_args(self, entry: StateLogEntry) -> dict[str, object]:
        job = entry.job
        return {
            "kind": self._kind,
            "id": job.id,
            "version": job.version,
            "job": entry.snapshot,
            "keep": TTL,
            "user": job.user if self._kind == "webhook" else None,
            "at": job.updated_at,
            "max": MAX_LISTED,
        }

    def claim(self, *, limit: int, lease: float, busy: Sequence[str] = ()) -> list[Delivery]:
        """Claim up to ``limit`` due deliveries of each partition for ``lease`` seconds.

        Those of ``busy`` users are postponed. A partition with an error is left out; raise it only
        if every partition has one.
        """
        args = {
            "kind": self._kind,
            "limit": limit,
            "lease": milliseconds(lease),
            "busy": orjson.dumps(busy).decode(),
            "postpone": POSTPONE,
        }
        results = self._scripts.run_in_partitions(
            "delivery_claim",
            lambda tag: keys.of_partition("deliveries_due", tag, kind=self._kind),
            args,
        )
        return [
            Delivery(
                job=events.decode(job),
                attempt=int(attempts) + 1,
                replayed_after=int(replayed_after),
                fencing_token=int(token),
            )
            for _, *values in successes(log, "deliveries not claimed", results).values()
            for job, attempts, replayed_after, token in zip(
                values[::4], values[1::4], values[2::4], values[3::4], strict=True
            )
        ]

    def record_attempt(
        self,
        delivery: Delivery,
        state: DeliveryState,
        entry: DeliveryAttempt,
        *,
        delay: float = 0.0,
        replay_delay: float = 0.0,
        exchange: Exchange | None = None,
    ) -> DeliveryState | None:
        """Record the outcome of an attempt; ``pending``: try again after ``delay`` seconds.

        If a replay was requested during an attempt that did not succeed, the attempt counts as the
        first one of the replay: the next one follows after ``replay_delay`` seconds.

        Returns the delivery's state, or None if the lease had expired and another worker claimed
        the delivery.
        """
        args = {
            "kind": self._kind,
            "id": delivery.job.id,
            "version": delivery.job.version,
            "fencing_token": delivery.fencing_token,
            "state": state,
            "delay": milliseconds(delay),
            "replayed_after": delivery.replayed_after,
            "replay_delay": milliseconds(replay_delay),
            "entry": orjson.dumps(entry).decode(),
            "exchange": exchange and orjson.dumps(exchange).decode(),
            "keep": TTL,
            "max_attempts": MAX_ATTEMPTS,
            "max_exchanges": MAX_EXCHANGES,
            "logged": "1" if self._kind == "webhook" else None,
        }
        try:
            _, recorded = self._scripts.call(
                "delivery_record", keys.deliveries(delivery.job.id), args
            )
        except LeaseLost:
            return None
        return cast("DeliveryState", recorded)

    def replay(self, job_id: str, version: int) -> None:
        """Make a delivery due again, with all its attempts. Raises ``DeliveryNotFound``."""
        args = {"kind": self._kind, "member": f"{job_id}:{version}", "keep": TTL}
        _, replayed, _ = self._scripts.call("delivery_replay", keys.deliveries(job_id), args)
        if replayed == "0":
            raise DeliveryNotFound

    def replay_since(
        self, user: str, since: int, *, state: DeliveryState | None = None
    ) -> tuple[int, int | None]:
        """Make the user's deliveries of states entered since a time due again, oldest first.

        ``since`` is in milliseconds since 1970. ``state``: only deliveries in this state. Returns
        their number, and the time to continue from if there are more than one call handles.
        """
        args = {
            "kind": self._kind,
            "user": user,
            "since": since,
            "max": MAX_REPLAYED,
            "state": state,
            "keep": TTL,
        }
        _, replayed, following = self._scripts.call(
            "delivery_replay", keys.user_deliveries(user, self._kind), args
        )
        return int(replayed), int(following) if following else None

    def of_job(self, job_id: str) -> list[DeliveryRecord]:
        """Return the job's deliveries with all their attempts, oldest first."""
        versions: Any = self._client.zrange(keys.deliveries(job_id, self._kind), 0, -1)
        with self._client.pipeline(transaction=False) as pipe:
            for version in map(int, versions):
                pipe.hgetall(keys.delivery(job_id, version, kind=self._kind))
                for name in ("delivery_log", "delivery_exchanges"):
                    pipe.lrange(keys.delivery(job_id, version, name=name, kind=self._kind), 0, -1)
            results = pipe.execute()
        return [
            _record(fields, attempts, exchanges)
            for fields, attempts, exchanges in zip(
                results[::3], results[1::3], results[2::3], strict=True
            )
            if fields
        ]


def _record(
    fields: dict[str, str], attempts: Sequence[str], exchanges: Sequence[str]
) -> DeliveryRecord:
    job = events.decode(fields["job"])
    shown = [Exchange(**known_members(Exchange, orjson.loads(entry))) for entry in exchanges]
    return DeliveryRecord(
        id=message_id(job.id, job.version),
        job=job,
        state=fields["state"],  # type: ignore[arg-type]
        next_at=int(fields["next_at"]) if fields.get("next_at") else None,
        attempts=tuple(
            DeliveryAttempt(**known_members(DeliveryAttempt, orjson.loads(entry)))
            for entry in attempts
        ),
        exchanges={exchange.attempt: exchange for exchange in shown},
    )
