"""Builds, signs and posts webhooks by Standard Webhooks, and interprets the responses."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from common.http_headers import parse_retry_after
from common.job_store.deliveries import DeliveryAttempt, event_type
from common.jobs.model import Job
from common.jobs.presenter import iso
from common.webhook_signing import WebhookKeys
from worker.deliverer import DeliveryOutcome, outcome_of_failure
from worker.webhooks.exchange import shown_exchange
from worker.webhooks.http_poster import WebhookPoster, WebhookResponse

if TYPE_CHECKING:
    from common.clock import Clock
    from common.job_store.deliveries import Delivery

log = structlog.get_logger(__name__)


class WebhookSender:
    """Makes attempts to deliver webhooks. Thread safe."""

    def __init__(
        self,
        poster: WebhookPoster,
        *,
        present: Callable[[Job], Mapping[str, Any]],
        secret: str,
        generations: Callable[[str], Sequence[int]] = lambda _: (1,),
        clock: Clock = time,
    ) -> None:
        """``present`` returns the job as clients see it, with a freshly signed link.

        ``secret``: the master secret, ``whsec_…``, or several separated by spaces. All of them
        sign, and so do the secrets of the job's user that are derived from them. If it is empty, a
        random secret signs, which no receiver can verify. ``generations`` returns those of a user's
        secret that are valid now. Raise ``ValueError`` for a malformed secret.
        """
        self._poster = poster
        self._present = present
        self._keys = WebhookKeys(secret or _random_secret())
        self._generations = generations
        self._clock = clock

    def deliver(self, delivery: Delivery) -> DeliveryOutcome:
        """Make one attempt. Raises ``RedisError`` if the job store is unavailable before."""
        started_at, started = self._clock.time(), self._clock.monotonic()
        body = orjson.dumps(self._payload(delivery.job))
        url, headers = delivery.job.callback_url or "", self._headers(delivery, started_at, body)
        response = self._poster.post(url, body, headers)
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
        outcome = outcome_of(response, attempt, replayed_after=delivery.replayed_after)
        return replace(
            outcome, exchange=shown_exchange(delivery.attempt, url, headers, response.headers)
        )

    def _payload(self, job: Job) -> dict[str, Any]:
        return {
            "type": event_type(job),
            "timestamp": iso(job.updated_at),
            "data": self._present(job),
        }

    def _headers(self, delivery: Delivery, now: float, body: bytes) -> dict[str, str]:
        at = datetime.fromtimestamp(int(now), UTC)
        user = delivery.job.user
        signers = self._keys.signers(user, self._generations(user))
        signatures = [signer.sign(delivery.id, at, body.decode()) for signer in signers]
        return {
            "Content-Type": "application/json",
            "User-Agent": "Longhaul-Webhooks/1",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(signatures),
        }


def _random_secret() -> str:
    log.warning("WEBHOOK_SECRET is empty: receivers cannot verify webhooks of this process")
    return base64.b64encode(secrets.token_bytes(32)).decode()


def outcome_of(
    response: WebhookResponse, attempt: DeliveryAttempt, *, replayed_after: int = 0
) -> DeliveryOutcome:
    """Return what it means: delivered, gone (410), pending (it will be retried) or failed."""
    if response.status is not None and 200 <= response.status < 300:
        return DeliveryOutcome(state="delivered", attempt=attempt)
    if response.status == 410:
        return DeliveryOutcome(state="gone", attempt=attempt)
    outcome = outcome_of_failure(attempt, replayed_after=replayed_after)
    if response.status not in (429, 503):
        return outcome
    retry_after = parse_retry_after(response.retry_after, time.time()) or 0.0
    return replace(
        outcome,
        delay=max(outcome.delay, retry_after),
        replay_delay=max(outcome.replay_delay, retry_after),
    )
