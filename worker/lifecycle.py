"""A worker process put together: what it runs, what runs beside it, and how it ends."""

from __future__ import annotations

import os
import random
import secrets
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery import signals
from redis.exceptions import RedisError

from common.callback_urls import is_public
from common.errors import DownloadError
from common.job_store.state_log import StateLog
from common.job_store.worker_registry import WorkerRegistration
from common.jobs.presenter import JobPresenter
from worker import metrics, tasks
from worker.archive_builder import ArchiveBuilder
from worker.attempt.heartbeat import HeartbeatThread
from worker.attempt.runner import Backoff, Runner
from worker.maintenance.cleanup import Cleanup
from worker.maintenance.sweep_thread import SweepThread
from worker.webhooks import Poster, WebhookSender, WebhookThread

if TYPE_CHECKING:
    from common.bootstrap import Services
    from worker.maintenance.history_recorder import Recorder

#: Share of the grace period after which running jobs are handed back; the rest is for doing so.
_HAND_BACK_AT: Final = 0.8
#: Seconds between two tries to set up the bucket, and between two looks for leftovers in it.
_STORAGE_RETRY: Final = 1.0
_LEFTOVERS_EVERY: Final = 60.0

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Owns the threads beside Celery's pool: heart, sweeper and the timer that drains."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        host = socket.gethostname()
        self.name = f"{host}-{os.getpid()}-{secrets.token_hex(2)}"
        self._grace = settings.drain_grace
        self._over = threading.Event()
        self._archives = ArchiveBuilder(services)
        self._registration = WorkerRegistration(
            services.own_connection(),
            self.name,
            slots=settings.worker_concurrency,
            running=lambda: self._heart.running(),
            host=host,
        )
        self._heart = HeartbeatThread(
            services.jobs, interval=settings.worker_heartbeat, alive=self._registration.heartbeat
        )
        self._show_metrics = partial(
            metrics.serve,
            settings.host,
            settings.metrics_port,
            slots=settings.worker_concurrency,
            running=self._heart.running,
        )
        self._sweeping = SweepThread(
            services.sweeper,
            client=services.redis,
            dispatcher=services.dispatcher,
            workers=services.workers,
            interval=settings.sweep_interval,
            lease=settings.lease_seconds,
        )
        self._recorder = _recorder(services, self.name)
        self._webhooks = _webhooks(services, self.name)
        breakers = self._archives.circuit_breakers(services.short_timeout_client())
        runner = Runner(
            services.jobs,
            self._heart,
            breakers.wrap(self._archives.build),
            name=self.name,
            deadline=settings.job_deadline,
            backoff=Backoff(base=settings.retry_base_delay, longest=settings.retry_max_delay),
            allows_attempt=breakers.allows_attempt,
        )
        upkeep = Cleanup(
            services.redis,
            services.queries,
            services.dead_letters,
            services.storage,
            bucket=settings.archive_bucket,
            job_ttl=settings.job_ttl,
        )
        tasks.register(services.celery, runner, upkeep)

    def listen(self) -> None:
        """Follow the life of Celery's worker."""
        signals.worker_ready.connect(self._started, weak=False)
        signals.worker_shutting_down.connect(self._draining, weak=False)
        signals.worker_shutdown.connect(self._ended, weak=False)

    def _started(self, **_: Any) -> None:
        self._show_metrics()
        self._heart.start()
        self._sweeping.start()
        if self._recorder is not None:
            self._recorder.start()
        self._webhooks.start()
        threading.Thread(target=self._tend_storage, name="storage", daemon=True).start()
        log.info("worker ready", worker=self.name)

    def _tend_storage(self) -> None:
        wait = 0.0
        while not self._over.wait(wait):
            try:
                self._archives.prepare()
                cleared = self._archives.clear_leftovers()
            except (DownloadError, RedisError) as error:
                log.warning("the storage is not ready", reason=str(error))
                wait = _STORAGE_RETRY
            else:
                wait = _LEFTOVERS_EVERY * random.uniform(0.8, 1.2)  # noqa: S311
                if cleared:
                    log.info("leftovers cleared", jobs=cleared)

    def _draining(self, **_: Any) -> None:
        """SIGTERM: short jobs may end by themselves, the others are handed back in time."""
        log.info("worker drains", running=len(self._heart.running()))
        timer = threading.Timer(self._grace * _HAND_BACK_AT, self._heart.drain)
        timer.daemon = True
        timer.start()

    def _ended(self, **_: Any) -> None:
        self._over.set()
        self._webhooks.stop()
        self._sweeping.stop()
        if self._recorder is not None:
            self._recorder.stop()
        self._heart.stop()
        self._registration.deregister()


def _recorder(services: Services, name: str) -> Recorder | None:
    if services.database is None:
        log.info("no history is kept: DATABASE_URL is not set")
        return None
    from worker.maintenance.history_recorder import recorder_for  # It needs the extra `history`.

    return recorder_for(services, services.database, name)


def _webhooks(services: Services, name: str) -> WebhookThread:
    settings = services.settings
    accepts = (lambda _: True) if settings.webhook_allow_private else is_public
    courier = WebhookSender(
        Poster(accepts),
        present=services.presenter.present,
        secret=settings.webhook_secret,
    )
    state_log = StateLog(services.redis, "webhooks", name)
    return WebhookThread(state_log, services.deliveries, courier)
