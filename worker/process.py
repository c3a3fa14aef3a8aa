"""A worker process put together: what it runs, what runs beside it, and how it ends."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery import signals

from common.callbacks import is_public
from common.errors import DownloadError
from common.jobs.model import Artifact
from common.presenter import JobPresenter
from common.store.journal import Journal
from common.store.presence import Presence
from worker import tasks
from worker.archive import ArchiveRequest, build
from worker.control import Control
from worker.heartbeat import Heart
from worker.runner import Backoff, Runner
from worker.sources import source_from_template
from worker.sweeping import SweepThread
from worker.webhooks import Courier, Poster, WebhookThread

if TYPE_CHECKING:
    from common.bootstrap import Services
    from common.store.jobs import Claim

#: Share of the grace period after which running jobs are handed back; the rest is for doing so.
_HAND_BACK_AT: Final = 0.8
#: Seconds between two tries to set up the bucket.
_STORAGE_RETRY: Final = 1.0

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Owns the threads beside Celery's pool: heart, sweeper and the timer that drains."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._grace = settings.drain_grace
        self._archives = ArchiveBuilder(services)
        self._presence = Presence(
            services.own_connection(),
            self.name,
            slots=settings.worker_concurrency,
            running=lambda: self._heart.running(),
        )
        self._heart = Heart(
            services.jobs, interval=settings.worker_heartbeat, alive=self._presence.beat
        )
        self._sweeping = SweepThread(
            services.sweeper,
            client=services.redis,
            dispatcher=services.dispatcher,
            workers=services.workers,
            interval=settings.sweep_interval,
            lease=settings.lease_seconds,
        )
        self._webhooks = _webhooks(services, self.name)
        runner = Runner(
            services.jobs,
            self._heart,
            self._archives.build,
            name=self.name,
            deadline=settings.job_deadline,
            backoff=Backoff(base=settings.retry_base_delay, longest=settings.retry_max_delay),
        )
        tasks.register(services.celery, runner)

    def listen(self) -> None:
        """Follow the life of Celery's worker."""
        signals.worker_ready.connect(self._started, weak=False)
        signals.worker_shutting_down.connect(self._draining, weak=False)
        signals.worker_shutdown.connect(self._ended, weak=False)

    def _started(self, **_: Any) -> None:
        self._heart.start()
        self._sweeping.start()
        self._webhooks.start()
        threading.Thread(target=self._prepare_storage, name="storage", daemon=True).start()
        log.info("worker ready", worker=self.name)

    def _prepare_storage(self) -> None:
        while True:
            try:
                self._archives.prepare()
            except DownloadError as error:
                log.warning("the storage is not ready", reason=error.message)
                time.sleep(_STORAGE_RETRY)
            else:
                return

    def _draining(self, **_: Any) -> None:
        """SIGTERM: short jobs may end by themselves, the others are handed back in time."""
        log.info("worker drains", running=len(self._heart.running()))
        timer = threading.Timer(self._grace * _HAND_BACK_AT, self._heart.drain)
        timer.daemon = True
        timer.start()

    def _ended(self, **_: Any) -> None:
        self._webhooks.stop()
        self._sweeping.stop()
        self._heart.stop()
        self._presence.leave()


def _webhooks(services: Services, name: str) -> WebhookThread:
    settings = services.settings
    accepts = (lambda _: True) if settings.webhook_allow_private else is_public
    courier = Courier(
        Poster(accepts),
        present=JobPresenter(services.storage, link_ttl=settings.link_ttl).present,
        secret=settings.webhook_secret,
    )
    journal = Journal(services.redis, "webhooks", name)
    return WebhookThread(journal, services.deliveries, courier)


class ArchiveBuilder:
    """Binds the archive engine to this installation's catalogue and storage."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._settings = settings
        self._prepared = False
        self._store = services.storage
        self._source = source_from_template(settings.source_url_template, store=services.storage)

    def prepare(self) -> None:
        """Make sure, once, that the bucket for archives is there, with its lifecycle rule."""
        if not self._prepared:
            self._store.ensure_bucket(self._settings.archive_bucket, ttl=self._settings.archive_ttl)
            self._prepared = True

    def build(self, claim: Claim, control: Control) -> Artifact:
        self.prepare()
        request = ArchiveRequest(
            job_id=claim.job.id,
            attempt_token=claim.lease.fence,
            file_ids=claim.spec.file_ids,
            file_name=claim.spec.file_name,
            on_missing=claim.spec.on_missing,
            bucket=self._settings.archive_bucket,
            direct_single_file=self._settings.direct_single_file,
            max_bytes=self._settings.max_archive_bytes,
            min_rate=self._settings.min_rate_bytes,
            rate_window=self._settings.min_rate_window,
        )
        return build(request, source=self._source, store=self._store, control=control)
