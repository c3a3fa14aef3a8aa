"""Assembles the deliveries of emails, and decides which jobs are worth one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.job_store.deliveries import Deliveries
from common.job_store.download_links import DownloadLinks
from common.jobs.transitions import JobState
from worker import metrics
from worker.deliverer import Deliverer
from worker.emails.sender import EmailSender
from worker.emails.smtp import TOTAL_TIMEOUT, SmtpServer

if TYPE_CHECKING:
    from common.bootstrap import Services
    from common.job_store.state_log import StateLogEntry

#: Concurrent emails of this process; each may take 30 s.
MAX_EMAILS: Final = 4
#: Seconds for which a claimed email is reserved: longer than five rounds of emails.
LEASE: Final = 180.0
_STATES: Final = frozenset({JobState.COMPLETED, JobState.FAILED})


def email_deliverer(services: Services) -> Deliverer | None:
    """Return the deliveries of emails; None without ``SMTP_URL``.

    Raise ``ValueError`` for a malformed one.
    """
    settings = services.settings
    if not settings.smtp_url:
        return None
    sender = EmailSender(
        SmtpServer.parse(settings.smtp_url),
        DownloadLinks(services.redis),
        from_address=settings.email_from,
        default_recipient=settings.email_to,
        public_url=settings.public_url.rstrip("/"),
    )
    return Deliverer(
        Deliveries(services.redis, "email"),
        sender,
        wants=LongJobs(after=settings.email_after, for_everyone=bool(settings.email_to)),
        executor=ThreadPoolExecutor(MAX_EMAILS, thread_name_prefix="email"),
        max_attempts=MAX_EMAILS,
        max_duration=TOTAL_TIMEOUT,
        counter=metrics.EMAILS,
        lease=LEASE,
    )


@dataclass(frozen=True, kw_only=True)
class LongJobs:
    """Tells whether an email is sent about a state change."""

    #: Seconds from the creation of a job to its end.
    after: float
    #: Also for jobs of users without an address.
    for_everyone: bool

    def __call__(self, entry: StateLogEntry) -> bool:
        # Most jobs have no address, which shows without parsing the snapshot.
        if not self.for_everyone and '"email"' not in entry.snapshot:
            return False
        job = entry.job
        if job.status not in _STATES or not (self.for_everyone or job.email):
            return False
        return job.updated_at - job.requested_at >= self.after * 1000
