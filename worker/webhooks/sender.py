"""One attempt at a webhook: shaped and signed by Standard Webhooks, judged by its answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from standardwebhooks import Webhook

from common.job_store.webhook_deliveries import DeliveryAttempt, DeliveryState, event_type
from common.jobs.model import Job
from common.jobs.presenter import iso
from worker.webhooks.http_poster import Poster, WebhookResponse

if TYPE_CHECKING:
    from common.job_store.webhook_deliveries import WebhookDelivery

#: Seconds after the first, second, … attempt: ten attempts within three days.
PAUSES: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 57_600, 86_400)
#: A receiver may ask for a longer pause, but not for one that outlives the delivery, seconds.
LONGEST_PAUSE: Final = 86_400.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeliveryOutcome:
    """What an attempt means for its delivery."""

    state: DeliveryState
    entry: DeliveryAttempt
    #: Seconds until the next attempt, for ``pending``.
    delay: float = 0.0


class WebhookSender:
    """Makes attempts; any number of threads may ``deliver`` at once."""

    def __init__(
        self, poster: Poster, *, present: Callable[[Job], Mapping[str, Any]], secret: str
    ) -> None:
        """``present`` makes what clients see of a job, with a freshly signed link.

        ``secret``: ``whsec_…``; several by spaces all sign, so that receivers can change over;
        empty: one made up, which no receiver can check. Raises ValueError for what is none.
        """
        self._poster = poster
        self._present = present
        self._signers = signers(secret)

    def deliver(self, delivery: WebhookDelivery) -> DeliveryOutcome:
        """Post it once, now."""
        began_at, began = time.time(), time.monotonic()
        body = orjson.dumps(self._payload(delivery.job))
        answer = self._poster.post(
            delivery.job.callback_url or "", body, self._headers(delivery.id, began_at, body)
        )
        entry = DeliveryAttempt(
            attempt=delivery.attempt,
            at=round(began_at * 1000),
            duration_ms=round((time.monotonic() - began) * 1000),
            status=answer.status,
            error=answer.error,
        )
        log.info(
            "webhook posted",
            job_id=delivery.job.id,
            webhook_id=delivery.id,
            attempt=delivery.attempt,
            status=answer.status,
            error=answer.error,
        )
        return judge(answer, entry)

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
    """One signer for each secret of the setting."""
    if not secret:
        log.warning("WEBHOOK_SECRET is empty: no receiver can check this process's webhooks")
        return [Webhook(secrets.token_bytes(32))]
    return [Webhook(each) for each in secret.split()]


def judge(answer: WebhookResponse, entry: DeliveryAttempt) -> DeliveryOutcome:
    """Delivered, gone (410: the receiver wants no more), to be tried again, or given up."""
    if answer.status is not None and 200 <= answer.status < 300:
        return DeliveryOutcome(state="delivered", entry=entry)
    if answer.status == 410:
        return DeliveryOutcome(state="gone", entry=entry)
    if entry.attempt > len(PAUSES):
        return DeliveryOutcome(state="failed", entry=entry)
    delay = float(PAUSES[entry.attempt - 1])
    asked = _seconds(answer.retry_after) if answer.status in (429, 503) else 0.0
    return DeliveryOutcome(
        state="pending", entry=entry, delay=max(delay, min(asked, LONGEST_PAUSE))
    )


def _seconds(retry_after: str | None) -> float:
    """Retry-After (RFC 9110, 10.2.3) in seconds; 0 for none, for the past and for nonsense."""
    text = (retry_after or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
