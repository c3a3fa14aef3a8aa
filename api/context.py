"""What the routes work with: made once for each app, reached by ``here()``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from api.admission import Admission
    from api.auth import Authenticator
    from api.catalogue import Catalogue
    from api.health import Health
    from api.limits import Limiter
    from api.live.board import Board
    from api.live.tickets import Tickets
    from api.operators import Operators
    from api.overview import Overview
    from api.queue_figures import QueueFigures
    from api.remembered import Remembered
    from api.waiting import Live
    from common.presenter import JobPresenter
    from common.store.archive_totals import ArchiveTotals
    from common.store.dead_letters import DeadLetters
    from common.store.deliveries import Deliveries
    from common.store.jobs import JobStore
    from common.store.pause import Pause
    from common.store.queries import JobQueries

EXTENSION = "longhaul"


@dataclass(frozen=True, kw_only=True)
class FileIdRules:
    """Which ids a request may name, and how many."""

    smallest: int
    largest: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Context:
    """The API's own parts and values; no part knows of the others."""

    jobs: JobStore
    queries: JobQueries
    archive_totals: ArchiveTotals
    deliveries: Deliveries
    dead_letters: DeadLetters
    pause: Pause
    operators: Operators
    overview: Overview
    live: Live
    #: The operators' streams; None where no event loop drives them.
    board: Board | None
    presenter: JobPresenter
    authenticator: Authenticator
    limiter: Limiter
    admission: Admission
    catalogue: Catalogue
    health: Health
    figures: QueueFigures
    remembered: Remembered
    file_ids: FileIdRules
    #: Callback URLs may name private hosts.
    private_callbacks: bool
    #: Longest wait of the synchronous call, seconds.
    request_timeout: float
    #: Advised to clients that poll, milliseconds.
    polling_interval_ms: int
    #: Base of the URLs in answers, without a slash; empty: as the client called.
    public_url: str
    #: What a live URL carries to prove the right to watch.
    tickets: Tickets

    @property
    def poll_after(self) -> str:
        """The advised pause between polls, as ``Retry-After`` wants it: whole seconds."""
        return str(max(1, round(self.polling_interval_ms / 1000)))


def here() -> Context:
    return cast("Context", current_app.extensions[EXTENSION])
