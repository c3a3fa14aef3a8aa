"""What the routes use: built once for each app, reached by ``deps()``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flask import current_app

if TYPE_CHECKING:
    import threading
    from weakref import WeakValueDictionary

    from prometheus_client.registry import Collector

    from api.admin.job_details import JobDetailsReader
    from api.admin.job_explorer import JobExplorer
    from api.admin.operator_actions import OperatorActions
    from api.admin.overview import Overview
    from api.admin.user_erasure import UserErasure
    from api.allowed_hosts import AllowedHosts
    from api.archive_delivery import ArchiveDelivery
    from api.auth.callers import Authenticator
    from api.auth.file_access import FileAccess
    from api.auth.operators import Operators
    from api.cors import CorsHeaders
    from api.deprecation import Deprecation
    from api.health import Health
    from api.job_history import JobHistory
    from api.limits.concurrency_limit import ConcurrencyLimit
    from api.limits.plans import Plans
    from api.limits.queue_limit import QueueLimit
    from api.limits.rate_limits import RateLimiter
    from api.live.long_poll import JobWaiter, WaitingRequests
    from api.live.operator_streams import OperatorStreams
    from api.shared_result import SharedResult
    from common.job_store.audit_log import AuditLog
    from common.job_store.dead_letters import DeadLetters
    from common.job_store.deliveries import Deliveries
    from common.job_store.download_links import DownloadLinks
    from common.job_store.forecaster import Forecaster
    from common.job_store.jobs import JobStore
    from common.job_store.pause import Pause
    from common.job_store.queries import JobQueries
    from common.job_store.statistics_log import StatisticsLog
    from common.job_store.webhook_secrets import WebhookSecrets
    from common.job_tickets import JobTickets
    from common.jobs.presenter import JobPresenter
    from common.sources import Source
    from common.webhook_signing import WebhookKeys

EXTENSION = "longhaul"


@dataclass(frozen=True, kw_only=True)
class FileIdLimits:
    """Which file IDs a request may contain, and how many."""

    min_id: int
    max_id: int
    max_count: int


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The objects and values that the routes use. The objects do not know each other."""

    jobs: JobStore
    queries: JobQueries
    deliveries: Deliveries
    webhook_secrets: WebhookSecrets
    webhook_keys: WebhookKeys
    download_links: DownloadLinks
    dead_letters: DeadLetters
    pause: Pause
    operators: Operators
    overview: Overview
    #: The public statistics of the queue, which cost the job store 200 commands.
    queue_statistics: SharedResult[dict[str, Any]]
    live: JobWaiter
    waiting_requests: WaitingRequests
    #: None if the process has no event loop for live updates.
    operator_streams: OperatorStreams | None
    presenter: JobPresenter
    #: How clients get archives.
    archive_delivery: ArchiveDelivery
    authenticator: Authenticator
    file_access: FileAccess
    allowed_hosts: AllowedHosts
    cors: CorsHeaders
    rate_limiter: RateLimiter
    #: None if all users have the same limits.
    plans: Plans | None
    queue_limit: QueueLimit
    forecaster: Forecaster
    #: Describes files for checks; the worker reads them from the same source.
    source: Source
    #: Checks of files in progress.
    file_check_limit: ConcurrencyLimit
    #: By address, while it has checks: they share slots, one for each file that they look for.
    lookup_slots: WeakValueDictionary[str, threading.Semaphore]
    health: Health
    #: Metrics that are read for each scrape.
    collectors: tuple[Collector, ...]
    job_history: JobHistory
    user_erasure: UserErasure
    job_explorer: JobExplorer
    job_details: JobDetailsReader
    operator_actions: OperatorActions
    audit_log: AuditLog
    statistics_log: StatisticsLog
    file_ids: FileIdLimits
    #: Callback URLs may name private hosts.
    allow_private_callbacks: bool
    #: How long the synchronous call waits, in seconds.
    request_timeout: float
    #: How often clients should poll, in milliseconds.
    polling_interval_ms: int
    #: Of the synchronous call.
    start_deprecation: Deprecation
    #: Base of the URLs in responses, without a trailing slash; empty: as in the request.
    public_url: str
    #: URLs that browsers open carry a ticket as proof of the right to a job.
    job_tickets: JobTickets

    @property
    def retry_after(self) -> str:
        """How long clients should wait between polls, for ``Retry-After``: whole seconds."""
        return str(max(1, round(self.polling_interval_ms / 1000)))


def deps() -> Dependencies:
    """Return the dependencies of the current app."""
    return cast("Dependencies", current_app.extensions[EXTENSION])
