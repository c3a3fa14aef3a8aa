"""The application that gunicorn serves: ``gunicorn -c python:api.gunicorn_conf api.wsgi:app``."""

from __future__ import annotations

from api.app import build_live_updates, build_operator_streams, create_app
from api.store_time import LimitedStoreTime
from common.bootstrap import connect
from common.observability import tracing
from common.observability.logs import configure_logging
from common.observability.sentry import report_errors
from common.settings import Settings

#: Seconds that a request may wait for the job store in total: a 503 has to be sent within two.
JOB_STORE_TIMEOUT = 1.5

settings = Settings.from_env()
configure_logging(settings.log_level, settings.secrets())
report_errors(settings.sentry_dsn, service="api", secrets=settings.secrets())
tracing.trace(settings.otlp_endpoint, service="longhaul-api", ratio=settings.trace_ratio)
services = connect(settings, timeout=JOB_STORE_TIMEOUT)
live = build_live_updates(services)
operator_streams = build_operator_streams(services)
app = create_app(services, live=live, operator_streams=operator_streams)
app.wsgi_app = LimitedStoreTime(app.wsgi_app, JOB_STORE_TIMEOUT)  # type: ignore[method-assign]
