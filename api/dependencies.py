"""What the routes work with: made once for each app, reached by ``here()``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from api.auth.callers import Authenticator
    from api.auth.operators import Operators
    from api.auth.stream_tickets import StreamTickets
    from api.catalogue import Catalogue
    from api.health import Health
    from api.job_history import JobHistory
    from api.live.operator_streams import OperatorStreams
    from api.overview import Overview
    from api.queue_limit import QueueLimit
    from api.queue_metrics import QueueMetrics
    from api.rate_limits import Limiter
    from api.waiting import Live
    from common.job_store.archive_totals import ArchiveTotals
    from common.job_store.dead_letters import DeadLetters
    from common.job_store.jobs import JobStore
    from common.job_store.pause import Pause
    from common.job_store.queries import JobQueries
    from common.job_store.webhook_deliveries import WebhookDeliveries
    from common.jobs.presenter import JobPresenter

EXTENSION = "longhaul"


@dataclass(frozen=True, kw_only=True)
class FileIdLimits:
    """Which ids a request may name, and how many."""

    smallest: int
    largest: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The API's own parts and values; no part knows of the others."""

    jobs: JobStore
    queries: JobQueries
    archive_totals: ArchiveTotals
    deliveries: WebhookDeliveries
    dead_letters: DeadLetters
    pause: Pause
    operators: Operators
    overview: Overview
    live: Live
    #: The operators' streams; None where no event loop drives them.
    board: OperatorStreams | None
    presenter: JobPresenter
    authenticator: Authenticator
    limiter: Limiter
    admission: QueueLimit
    catalogue: Catalogue
    health: Health
    figures: QueueMetrics
    remembered: JobHistory
    file_ids: FileIdLimits
    #: Callback URLs may name private hosts.
    private_callbacks: bool
    #: Longest wait of the synchronous call, seconds.
    request_timeout: float
    #: Advised to clients that poll, milliseconds.
    polling_interval_ms: int
    #: Base of the URLs in answers, without a slash; empty: as the client called.
    public_url: str
    #: What a live URL carries to prove the right to watch.
    tickets: StreamTickets

    @property
    def poll_after(self) -> str:
        """The advised pause between polls, as ``Retry-After`` wants it: whole seconds."""
        return str(max(1, round(self.polling_interval_ms / 1000)))


def deps() -> Dependencies:
    return cast("Dependencies", current_app.extensions[EXTENSION])
