"""Makes attempts to deliver emails about jobs that have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from common.email_addresses import is_email_address
from common.errors import JobNotFound, TooManyLinks
from common.job_store.deliveries import DeliveryAttempt
from common.job_store.errors import log_errors
from common.jobs.transitions import JobState
from worker.deliverer import DeliveryOutcome, outcome_of_failure
from worker.emails.message import message_about

if TYPE_CHECKING:
    from common.clock import Clock
    from common.job_store.deliveries import Delivery
    from common.job_store.download_links import DownloadLink, DownloadLinks
    from worker.emails.smtp import SmtpReply, SmtpServer

log = structlog.get_logger(__name__)


class EmailSender:
    """Sends one email for each delivery. Thread safe."""

    def __init__(
        self,
        server: SmtpServer,
        links: DownloadLinks,
        *,
        from_address: str,
        default_recipient: str,
        public_url: str,
        clock: Clock = time,
    ) -> None:
        """``default_recipient``: for jobs whose user has no address; empty: none.

        ``public_url``: the beginning of links, without a slash at the end.
        """
        self._server = server
        self._links = links
        self._from_address = from_address
        self._default_recipient = default_recipient
        self._public_url = public_url
        self._clock = clock

    def deliver(self, delivery: Delivery) -> DeliveryOutcome:
        """Make one attempt. Raises ``RedisError`` if the job store is unavailable before."""
        job = delivery.job
        started_at, started = self._clock.time(), self._clock.monotonic()
        recipient = job.email or self._default_recipient
        if not is_email_address(recipient):
            # The job is of a release that accepted the address.
            attempt = DeliveryAttempt(
                attempt=delivery.attempt,
                at=round(started_at * 1000),
                duration_ms=0,
                error="The address cannot be written in a header",
            )
            return DeliveryOutcome(state="failed", attempt=attempt)
        url, link = None, None
        if job.status is JobState.COMPLETED:
            try:
                url, link = self._create_link(delivery)
            except JobNotFound:
                # The archive has expired since, or was deleted.
                attempt = DeliveryAttempt(
                    attempt=delivery.attempt, at=round(started_at * 1000), duration_ms=0
                )
                return DeliveryOutcome(state="gone", attempt=attempt)
        message = message_about(
            job, from_address=self._from_address, recipient=recipient, link=url, now=started_at
        )
        reply = self._server.send(message, from_address=self._from_address, recipient=recipient)
        if link is not None and not reply.accepted and reply.code is not None:
            # Rejected, so nobody has the link. After a lost connection, someone may.
            with log_errors(log, "link of a rejected email not revoked"):
                self._links.revoke(job.id, link.id)
        attempt = DeliveryAttempt(
            attempt=delivery.attempt,
            at=round(started_at * 1000),
            duration_ms=round((self._clock.monotonic() - started) * 1000),
            status=reply.code,
            error=reply.error,
        )
        log.info(
            "email sent" if reply.accepted else "email not sent",
            job_id=job.id,
            attempt=delivery.attempt,
            status=reply.code,
            error=reply.error,
        )
        return outcome_of(reply, attempt, replayed_after=delivery.replayed_after)

    def _create_link(self, delivery: Delivery) -> tuple[str | None, DownloadLink | None]:
        job = delivery.job
        try:
            token, link = self._links.create(
                job.id, job.user, expires_in=None, max_uses=None, ip=None, file_name=None
            )
        except TooManyLinks:
            return None, None
        return f"{self._public_url}/d/{token}", link


def outcome_of(
    reply: SmtpReply, attempt: DeliveryAttempt, *, replayed_after: int = 0
) -> DeliveryOutcome:
    """Return what the reply means: delivered, failed or pending (it will be retried)."""
    if reply.accepted:
        return DeliveryOutcome(state="delivered", attempt=attempt)
    if reply.permanent:
        return DeliveryOutcome(state="failed", attempt=attempt)
    return outcome_of_failure(attempt, replayed_after=replayed_after)
