"""Assembles a worker process: the Celery task, the threads beside it, startup and shutdown."""

from __future__ import annotations

import gc
import os
import secrets
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery import signals

from common.bootstrap import now_ms
from common.callback_urls import is_public
from common.job_store import keys
from common.job_store.archive_references import ArchiveRemovals
from common.job_store.bucket_size import MeasuredBucketSize
from common.job_store.periodic_task_lock import PeriodicTaskLock
from common.job_store.state_log import StateLog
from common.job_store.worker_registry import WorkerRegistration
from worker import metrics, tasks
from worker.archive_builder import ArchiveBuilder
from worker.attempt.heartbeat import HeartbeatThread
from worker.attempt.runner import AttemptRunner, Backoff
from worker.emails import email_deliverer
from worker.liveness import Liveness
from worker.maintenance.archive_remover import ArchiveRemover
from worker.maintenance.bucket_size import MEASUREMENT_INTERVAL, BucketSizeThread
from worker.maintenance.cleanup import Cleanup, CleanupThread
from worker.maintenance.sweep_thread import SweepThread
from worker.webhooks import WebhookPoster, WebhookSender, WebhookThread

if TYPE_CHECKING:
    from common.bootstrap import Services
    from worker.maintenance.history_recorder import HistoryRecorder

#: Share of the grace period after which running jobs are returned to the queue; the rest is for
#: doing so.
_DRAIN_AFTER: Final = 0.8
#: Seconds that one round of a thread may take while the job store does not respond.
_MAX_ROUND: Final = 180.0

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Owns the threads beside Celery's thread pool, and starts and stops them with the worker."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        host = socket.gethostname()
        self.name = f"{host}-{os.getpid()}-{secrets.token_hex(2)}"
        self._drain_grace = settings.drain_grace
        liveness = Liveness()
        liveness.watch_consumer(services.celery)
        self._registration = WorkerRegistration(
            services.own_connection(),
            self.name,
            slots=settings.worker_concurrency,
            running=lambda: self._heartbeat.running_jobs(),
            host=host,
            stuck=liveness.stuck,
        )
        self._heartbeat = HeartbeatThread(
            services.jobs,
            interval=settings.worker_heartbeat,
            on_heartbeat=self._registration.heartbeat,
        )
        self._serve_metrics = partial(
            metrics.serve,
            settings.host,
            settings.metrics_port,
            slots=settings.worker_concurrency,
            running_jobs=self._heartbeat.running_jobs,
        )
        archives = ArchiveBuilder(services)
        self._sweeper = _sweep_thread(services, liveness)
        self._cleanup = _cleanup_thread(services, archives)
        self._bucket_size = _bucket_size_thread(services)
        self._archive_remover = ArchiveRemover(
            ArchiveRemovals(services.redis), services.storage, bucket=settings.archive_bucket
        )
        self._recorder = _recorder(services, self.name, liveness)
        self._webhooks = _webhook_thread(services, self.name)
        tasks.register(services.celery, self._runner(services, archives))

    def _runner(self, services: Services, archives: ArchiveBuilder) -> AttemptRunner:
        settings = services.settings
        breakers = archives.circuit_breakers(services.short_timeout_client())
        return AttemptRunner(
            services.jobs,
            self._heartbeat,
            breakers.wrap(archives.build),
            name=self.name,
            deadline=settings.job_deadline,
            backoff=Backoff(base=settings.retry_base_delay, max_delay=settings.retry_max_delay),
            allows_attempt=breakers.allows_attempt,
        )

    def connect_signals(self) -> None:
        """Start, drain and stop with Celery's worker."""
        signals.worker_ready.connect(self._start, weak=False)
        signals.worker_shutting_down.connect(self._drain, weak=False)
        signals.worker_shutdown.connect(self._stop, weak=False)

    def _start(self, **_: Any) -> None:
        self._serve_metrics()
        self._heartbeat.start()
        self._sweeper.start()
        self._cleanup.start()
        self._bucket_size.start()
        self._archive_remover.start()
        if self._recorder is not None:
            self._recorder.start()
        self._webhooks.start()
        # What is loaded by now stays for good. Scanning it in every full garbage collection takes
        # time and frees nothing.
        gc.collect()
        gc.freeze()
        log.info("worker ready", worker=self.name)

    def _drain(self, **_: Any) -> None:
        """Let short jobs finish after SIGTERM, then return the others to the queue in time."""
        log.info("worker draining", running=len(self._heartbeat.running_jobs()))
        timer = threading.Timer(self._drain_grace * _DRAIN_AFTER, self._heartbeat.drain)
        timer.daemon = True
        timer.start()

    def _stop(self, **_: Any) -> None:
        self._webhooks.stop()
        self._sweeper.stop()
        self._cleanup.stop()
        self._bucket_size.stop()
        self._archive_remover.stop()
        if self._recorder is not None:
            self._recorder.stop()
        self._heartbeat.stop()
        self._registration.deregister()


def _sweep_thread(services: Services, liveness: Liveness) -> SweepThread:
    settings = services.settings
    return SweepThread(
        services.sweeper,
        client=services.redis,
        dispatcher=services.dispatcher,
        workers=services.workers,
        interval=settings.sweep_interval,
        lease=settings.lease_seconds,
        on_round=liveness.reporter("sweeper", within=_MAX_ROUND + settings.sweep_interval),
    )


def _cleanup_thread(services: Services, archives: ArchiveBuilder) -> CleanupThread:
    cleanup = Cleanup(
        services.redis,
        services.queries,
        services.dead_letters,
        services.storage,
        bucket=services.settings.archive_bucket,
        job_ttl=services.settings.job_ttl,
        job_deadline=services.settings.job_deadline,
    )
    return CleanupThread(archives, cleanup, PeriodicTaskLock(services.redis))


def _bucket_size_thread(services: Services) -> BucketSizeThread:
    lock = PeriodicTaskLock(
        services.redis,
        interval=MEASUREMENT_INTERVAL,
        lock_key=keys.BUCKET_SIZE_LOCK,
        done_key=keys.BUCKET_SIZE_DONE,
    )
    measured = MeasuredBucketSize(services.redis)
    return BucketSizeThread(services.storage, services.settings.archive_bucket, measured, lock)


def _recorder(services: Services, name: str, liveness: Liveness) -> HistoryRecorder | None:
    if services.database is None:
        log.info("history disabled, DATABASE_URL is not set")
        return None
    from worker.maintenance.history_recorder import (
        history_recorder_for,  # Needs the extra `history`.
    )

    return history_recorder_for(
        services,
        services.database,
        name,
        # A deletion of old jobs may take long.
        on_round=liveness.reporter("recorder", within=5 * _MAX_ROUND),
        # A migration of a large table, or the wait for that of another worker, may take hours. A
        # restart would roll it back.
        on_migration=partial(liveness.pause, "recorder"),
    )


def _webhook_thread(services: Services, name: str) -> WebhookThread:
    settings = services.settings
    is_allowed = (lambda _: True) if settings.webhook_allow_private else is_public
    sender = WebhookSender(
        WebhookPoster(is_allowed),
        present=services.presenter.present,
        secret=settings.webhook_secret,
        generations=lambda user: services.webhook_secrets.of_user(user).valid_at(now_ms()),
    )
    state_log = StateLog(services.redis, "webhooks", name)
    return WebhookThread(state_log, services.deliveries, sender, emails=email_deliverer(services))
