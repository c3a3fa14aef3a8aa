"""The application that gunicorn serves: ``gunicorn -c python:api.gunicorn_conf api.wsgi:app``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import gevent
import structlog

from api.app import (
    build_live_updates,
    build_operator_streams,
    create_app,
    warn_about_open_access,
)
from common.bootstrap import connect
from common.job_store import time_budget
from common.object_storage import CredentialsError
from common.observability import tracing
from common.observability.logs import configure_logging
from common.observability.sentry import report_errors
from common.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from common.object_storage import ObjectStorage

#: Seconds that a request may wait for the job store in total: a 503 has to be sent within two.
JOB_STORE_TIMEOUT = 1.5
#: Seconds between two looks at the credentials. botocore refreshes them 15 minutes before they
#: expire.
CREDENTIALS_INTERVAL = 30.0

log = structlog.get_logger(__name__)


class LimitedStoreTime:
    """WSGI middleware that limits how long each request waits for the job store."""

    def __init__(self, application: WSGIApplication, seconds: float) -> None:
        self._application = application
        self._seconds = seconds

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        budget = time_budget.begin(self._seconds)
        try:
            return self._application(environ, start_response)
        finally:
            budget.end()


def keep_credentials_fresh(storage: ObjectStorage) -> None:
    """Fetch credentials before they are needed, forever.

    Events are rendered on the event loop, where signing a link must not wait for a service.
    """
    while True:
        try:
            storage.refresh_credentials()
        except CredentialsError as error:
            log.warning("no credentials for signing links", error=str(error))
        except Exception:
            log.exception("credentials not refreshed")
        gevent.sleep(CREDENTIALS_INTERVAL)


settings = Settings.from_env()
configure_logging(settings.log_level, settings.secrets())
report_errors(
    settings.sentry_dsn,
    service="api",
    environment=settings.sentry_environment,
    secrets=settings.secrets(),
)
tracing.start_tracing(settings.otlp_endpoint, service="longhaul-api", ratio=settings.trace_ratio)
warn_about_open_access(settings)
services = connect(settings, timeout=JOB_STORE_TIMEOUT)
services.forecaster.run_reading = gevent.spawn
gevent.spawn(keep_credentials_fresh, services.storage)
live = build_live_updates(services)
operator_streams = build_operator_streams(services)
app = create_app(services, live=live, operator_streams=operator_streams)
app.wsgi_app = LimitedStoreTime(app.wsgi_app, JOB_STORE_TIMEOUT)  # type: ignore[method-assign]
