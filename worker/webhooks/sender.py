"""Builds, signs and posts webhooks by Standard Webhooks, and interprets the responses."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from standardwebhooks import Webhook

from common import webhook_signing
from common.http_headers import parse_retry_after
from common.job_store.webhook_deliveries import DeliveryAttempt, DeliveryState, event_type
from common.jobs.model import Job
from common.jobs.presenter import iso
from worker.webhooks.http_poster import WebhookPoster, WebhookResponse

if TYPE_CHECKING:
    from common.clock import Clock
    from common.job_store.webhook_deliveries import WebhookDelivery

#: Seconds to wait after the first, second, … failed attempt: ten attempts within three days.
RETRY_DELAYS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 57_600, 86_400)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeliveryOutcome:
    """The result of an attempt, and what follows from it for the delivery."""

    state: DeliveryState
    attempt: DeliveryAttempt
    #: Seconds until the next attempt, for ``pending``.
    delay: float = 0.0


class WebhookSender:
    """Makes attempts to deliver webhooks. Thread safe."""

    def __init__(
        self,
        poster: WebhookPoster,
        *,
        present: Callable[[Job], Mapping[str, Any]],
        secret: str,
        clock: Clock = time,
    ) -> None:
        """``present`` returns the job as clients see it, with a freshly signed link.

        ``secret``: ``whsec_…``, or several separated by spaces, which all sign, so that receivers
        can switch to a new one. If empty, a random secret signs, which no receiver can verify.
        Raise ``ValueError`` for a malformed secret.
        """
        self._poster = poster
        self._present = present
        self._signers = signers(secret)
        self._clock = clock

    def deliver(self, delivery: WebhookDelivery) -> DeliveryOutcome:
        """Make one attempt."""
        started_at, started = self._clock.time(), self._clock.monotonic()
        body = orjson.dumps(self._payload(delivery.job))
        response = self._poster.post(
            delivery.job.callback_url or "", body, self._headers(delivery.id, started_at, body)
        )
        attempt = DeliveryAttempt(
            attempt=delivery.attempt,
            at=round(started_at * 1000),
            duration_ms=round((self._clock.monotonic() - started) * 1000),
            status=response.status,
            error=response.error,
        )
        log.info(
            "webhook posted",
            job_id=delivery.job.id,
            webhook_id=delivery.id,
            attempt=delivery.attempt,
            status=response.status,
            error=response.error,
        )
        return outcome_of(response, attempt)

    def _payload(self, job: Job) -> dict[str, Any]:
        return {
            "type": event_type(job),
            "timestamp": iso(job.updated_at),
            "data": self._present(job),
        }

    def _headers(self, message_id: str, now: float, body: bytes) -> dict[str, str]:
        at = datetime.fromtimestamp(int(now), UTC)
        signatures = [signer.sign(message_id, at, body.decode()) for signer in self._signers]
        return {
            "Content-Type": "application/json",
            "User-Agent": "Longhaul-Webhooks/1",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(signatures),
        }


def signers(secret: str) -> list[Webhook]:
    """Return one signer for each secret of the setting."""
    if not secret:
        log.warning("WEBHOOK_SECRET is empty: receivers cannot verify webhooks of this process")
        return [Webhook(secrets.token_bytes(32))]
    return webhook_signing.signers(secret)


def outcome_of(response: WebhookResponse, attempt: DeliveryAttempt) -> DeliveryOutcome:
    """Return what the response means: delivered, gone (410), pending (a retry waits) or failed."""
    if response.status is not None and 200 <= response.status < 300:
        return DeliveryOutcome(state="delivered", attempt=attempt)
    if response.status == 410:
        return DeliveryOutcome(state="gone", attempt=attempt)
    if attempt.attempt > len(RETRY_DELAYS):
        return DeliveryOutcome(state="failed", attempt=attempt)
    delay = float(RETRY_DELAYS[attempt.attempt - 1])
    if response.status in (429, 503):
        delay = max(delay, parse_retry_after(response.retry_after, time.time()) or 0.0)
    return DeliveryOutcome(state="pending", attempt=attempt, delay=delay)
