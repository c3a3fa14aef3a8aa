"""Celery's entry point: ``celery -A worker.app …`` uses ``app``."""

from __future__ import annotations

import sys
from typing import Any

from celery import signals

from common.bootstrap import connect
from common.job_store.permissions import missing_permissions
from common.observability import tracing
from common.observability.logs import configure_logging
from common.observability.sentry import report_errors
from common.settings import Settings
from worker.lifecycle import WorkerProcess

settings = Settings.from_env()
report_errors(
    settings.sentry_dsn,
    service="worker",
    environment=settings.sentry_environment,
    secrets=settings.secrets(),
)
tracing.start_tracing(settings.otlp_endpoint, service="longhaul-worker", ratio=settings.trace_ratio)
services = connect(settings, timeout=20.0)
if missing := missing_permissions(services.short_timeout_client()):
    sys.exit(
        "The user in REDIS_URL may not run commands that workers need. Use ACL SETUSER: "
        + " ".join(f"+{name}" for name in missing)
    )
app = services.celery
WorkerProcess(services).connect_signals()


@signals.setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging(settings.log_level, settings.secrets())
