"""Builds the API: ``create_app`` and the objects that it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import structlog
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from api import allowed_hosts, collectors, metrics, openapi, problems, request_hooks, telemetry
from api.admin.job_details import JobDetailsReader
from api.admin.job_explorer import JobExplorer
from api.admin.operator_actions import OperatorActions
from api.admin.overview import Overview
from api.admin.user_erasure import UserErasure
from api.archive_delivery import ArchiveDelivery, NginxDelivery, RedirectDelivery
from api.auth.callers import Authenticator, HeaderAuthenticator
from api.auth.file_access import FileAccess
from api.auth.jwks import RemoteKeys
from api.auth.jwt_tokens import JwtAuthenticator, SharedSecret
from api.auth.operators import Operators
from api.collectors import DependencyMetrics, QueueMetrics, SettingMetrics, StoreCollector
from api.cors import CorsHeaders
from api.dependencies import EXTENSION, Dependencies, FileIdLimits
from api.deprecation import Deprecation
from api.errors import ServerFull
from api.fast_path.initiate import InitiateFastPath
from api.fast_path.status import StatusFastPath
from api.health import Health
from api.job_history import JobHistory
from api.limits.concurrency_limit import ConcurrencyLimit, ConcurrencyLimits
from api.limits.plans import DEFAULT, InvalidPlans, Plans, UserPlan, load_plans
from api.limits.queue_limit import QueueLimit
from api.limits.rate_limits import RateLimiter
from api.live.long_poll import JobWaiter, PollingWaiter, WaitingRequests
from api.live.operator_streams import OperatorStreams
from api.live.service import LiveUpdates, StreamLimits, available_streams
from api.metrics import MetricsPort
from api.responses import ApiRequest, OrjsonProvider
from api.routes import DOCUMENTED, pages, streams
from api.shared_result import MAX_AGE, SharedResult
from common.errors import RateLimited
from common.job_store.archive_totals import ArchiveTotals
from common.job_store.audit_log import AuditLog
from common.job_store.bucket_size import MeasuredBucketSize
from common.job_store.circuit_breaker_states import CircuitBreakerStates
from common.job_store.download_links import DownloadLinks
from common.job_store.erasure import JobErasure
from common.job_store.queries import FailedJobs
from common.job_store.queue_statistics import QueueStatistics
from common.job_store.search import JobSearch
from common.job_store.server_state import read_servers
from common.job_store.state_log_backlog import read_backlogs
from common.job_store.statistics_log import StatisticsLog
from common.job_store.storage_capabilities import StorageCapabilities
from common.job_store.subscription import open_subscriptions
from common.job_store.write_check import WriteCheck
from common.jobs.model import Priority
from common.settings import SettingError
from common.sources import source_host

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from api.allowed_hosts import AllowedHosts
    from common.authorization import FileAuthorizer
    from common.bootstrap import Services
    from common.history import HistoryReader
    from common.settings import Settings


log = structlog.get_logger(__name__)

#: Checks of files in one process.
MAX_FILE_CHECKS: Final = ConcurrencyLimits(total=32, per_address=8, per_user=8)
#: Seconds until a check that was rejected may try again.
RETRY_AFTER: Final = 2.0
#: Seconds between two checks of the dependencies for the overview, which is read every second.
OVERVIEW_CHECK_INTERVAL: Final = 10.0


def create_app(
    services: Services,
    *,
    live: JobWaiter | None = None,
    operator_streams: OperatorStreams | None = None,
) -> Flask:
    """Return the WSGI application.

    Without ``live``, long polls read the job store at intervals, and there are no streams.
    """
    settings = services.settings
    app = Flask("api", static_folder=None)
    app.json = OrjsonProvider(app)
    app.request_class = ApiRequest
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    # A double slash is an unknown path. Werkzeug would redirect it, which is not documented.
    app.url_map.merge_slashes = False
    dependencies = _dependencies(services, live, operator_streams)
    app.extensions[EXTENSION] = dependencies

    telemetry.install(app)
    metrics.install(app)
    request_hooks.install(app)
    dependencies.cors.install(app)
    _install_fast_path(app, dependencies, max_body_bytes=settings.max_body_bytes)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]

    document = openapi.document(app)
    problems.install(app)
    with app.app_context():
        for blueprint in DOCUMENTED:
            document.register_blueprint(blueprint)
        pages.publish(app, document)
    app.register_blueprint(streams.websocket_blueprint)
    if settings.api_metrics_port:
        app.wsgi_app = MetricsPort(  # type: ignore[method-assign]
            app.wsgi_app,
            settings.api_metrics_port,
            _allowed_hosts(settings, requires_tokens=False),
            lambda: metrics.exposition(*dependencies.collectors),
        )
    return app


def _install_fast_path(app: Flask, dependencies: Dependencies, *, max_body_bytes: int) -> None:
    """Let the fast path respond ahead of Flask; it reads jobs by the process's live connection."""
    if not isinstance(dependencies.live, LiveUpdates):
        return
    initiate = InitiateFastPath(app.wsgi_app, dependencies, max_body_bytes=max_body_bytes)
    status = StatusFastPath(initiate, dependencies, dependencies.live)
    app.wsgi_app = status  # type: ignore[method-assign]


def warn_about_open_access(settings: Settings) -> None:
    """Log a warning if anyone on the network can use the API as any user."""
    if settings.auth_mode == "none" and not allowed_hosts.is_local(settings.host):
        log.warning(
            "anyone who reaches this API can read and cancel the jobs of any user, because "
            "AUTH_MODE is none",
            host=settings.host,
        )


def build_live_updates(services: Services) -> LiveUpdates:
    """Return the streams and long polls of this process, which has to run gevent's event loop."""
    settings = services.settings
    return LiveUpdates(
        open_subscriptions(services.redis),
        services.presenter.present,
        StreamLimits(
            heartbeat_interval=settings.heartbeat_interval,
            maximum=ConcurrencyLimits(
                total=min(settings.max_streams, available_streams()),
                per_address=settings.max_streams_per_address,
                per_user=settings.max_streams_per_user,
            ),
        ),
    )


def build_operator_streams(services: Services) -> OperatorStreams:
    """Return the operators' streams of this process, which has to run gevent's event loop."""
    return OperatorStreams(
        _overview(services).read, heartbeat_interval=services.settings.heartbeat_interval
    )


def _overview(services: Services) -> Overview:
    health = _health(services, max_age=OVERVIEW_CHECK_INTERVAL)
    return Overview(
        queue_statistics=QueueStatistics(services.redis),
        worker_registry=services.workers,
        queries=services.queries,
        failed_jobs=FailedJobs(services.redis),
        presenter=services.presenter,
        dependency_checks=lambda: health.report().checks,
        breaker_states=_breaker_states(services).read,
        samples=StatisticsLog(services.redis).newest,
        min_success_rate=services.settings.alert_success_rate,
    )


def _breaker_states(services: Services) -> CircuitBreakerStates:
    return CircuitBreakerStates(services.redis, source_host(services.settings.source_url_template))


def _cors(settings: Settings) -> CorsHeaders:
    try:
        return CorsHeaders(settings.cors_origins)
    except ValueError as error:
        raise SettingError(str(error)) from None


def _health(services: Services, *, max_age: float = MAX_AGE) -> Health:
    history = _history(services)
    bucket = services.settings.archive_bucket
    return Health(
        {"redis": WriteCheck(services.redis).run},
        {
            "storage": lambda: services.storage.check(bucket),
            "history": history.check if history else None,
        },
        storage_capabilities=StorageCapabilities(services.redis).read,
        max_age=max_age,
    )


def _dependencies(
    services: Services, live: JobWaiter | None, operator_streams: OperatorStreams | None
) -> Dependencies:
    settings = services.settings
    history = _history(services)
    health = _health(services)
    jobs = services.jobs
    if isinstance(live, LiveUpdates):
        jobs = jobs.with_script_runner(live.run_script)
    live = live or PollingWaiter(services.queries)
    links, audit_log = _download_links(services), AuditLog(services.redis)
    overview = _overview(services)
    explorer = JobExplorer(services.queries, JobSearch(services.redis), history)
    return Dependencies(
        jobs=jobs,
        queries=services.queries,
        deliveries=services.deliveries,
        webhook_secrets=services.webhook_secrets,
        webhook_keys=services.webhook_keys,
        download_links=links,
        dead_letters=services.dead_letters,
        pause=services.pause,
        operators=Operators(token=settings.admin_token if settings.auth_mode == "none" else ""),
        overview=overview,
        queue_statistics=SharedResult(overview.statistics),
        live=live,
        waiting_requests=_waiting_requests(settings, live),
        operator_streams=operator_streams,
        presenter=services.presenter,
        archive_delivery=_archive_delivery(services),
        authenticator=_authenticator(settings, services.authorizer),
        file_access=FileAccess(services.authorizer, services.queries),
        allowed_hosts=_allowed_hosts(settings, requires_tokens=settings.auth_mode != "none"),
        cors=_cors(settings),
        rate_limiter=_rate_limiter(services),
        plans=_plans(settings),
        queue_limit=QueueLimit(services.forecaster, max_waiting=settings.queue_max),
        forecaster=services.forecaster,
        source=services.source,
        lookup_slots=WeakValueDictionary(),
        file_check_limit=_file_check_limit(),
        health=health,
        collectors=_collectors(services, health),
        job_history=JobHistory(services.queries, history),
        user_erasure=_user_erasure(services),
        job_explorer=explorer,
        job_details=JobDetailsReader(
            services.queries, services.dead_letters, services.deliveries, links, audit_log
        ),
        operator_actions=OperatorActions(explorer, jobs, services.dead_letters, audit_log),
        audit_log=audit_log,
        statistics_log=StatisticsLog(services.redis),
        file_ids=_file_id_limits(settings),
        allow_private_callbacks=settings.webhook_allow_private,
        request_timeout=settings.request_timeout,
        polling_interval_ms=settings.polling_interval_ms,
        start_deprecation=_start_deprecation(settings),
        public_url=settings.public_url.rstrip("/"),
        job_tickets=services.tickets,
    )


def _waiting_requests(settings: Settings, job_waiter: JobWaiter) -> WaitingRequests:
    return WaitingRequests(
        job_waiter,
        ConcurrencyLimits(
            total=settings.max_waiting_requests,
            per_address=settings.max_waiting_requests_per_address,
            per_user=settings.max_waiting_requests_per_user,
        ),
    )


def _allowed_hosts(settings: Settings, *, requires_tokens: bool) -> AllowedHosts:
    return allowed_hosts.for_server(
        settings.host,
        settings.allowed_hosts,
        public_url=settings.public_url,
        requires_tokens=requires_tokens,
    )


def _rate_limiter(services: Services) -> RateLimiter:
    settings = services.settings
    return RateLimiter(
        services.redis,
        create_user=settings.create_per_minute_user,
        create_ip=settings.create_per_minute_ip,
        requests_ip=settings.requests_per_minute_ip,
    )


def _file_check_limit() -> ConcurrencyLimit:
    return ConcurrencyLimit(
        MAX_FILE_CHECKS,
        full=lambda: ServerFull(
            "This server has no capacity for more checks. Try again in a few seconds.",
            retry_after=RETRY_AFTER,
        ),
        exceeded=lambda: RateLimited(
            "You have too many checks in progress. Wait for one, then try again.",
            retry_after=RETRY_AFTER,
        ),
    )


def _file_id_limits(settings: Settings) -> FileIdLimits:
    return FileIdLimits(
        min_id=settings.file_id_min,
        max_id=settings.file_id_max,
        max_count=settings.max_files,
    )


def _start_deprecation(settings: Settings) -> Deprecation:
    try:
        return Deprecation.parse(
            settings.start_deprecated_since, settings.start_sunset, settings.start_deprecation_url
        )
    except ValueError as error:
        names = "START_DEPRECATED_SINCE, START_SUNSET and START_DEPRECATION_URL"
        raise SettingError(f"{names}: {error}") from None


def _collectors(services: Services, health: Health) -> tuple[Collector, ...]:
    settings, redis = services.settings, services.redis
    groups = ("webhooks", "history") if services.database is not None else ("webhooks",)
    totals, measured = ArchiveTotals(redis), MeasuredBucketSize(redis)
    thresholds = {
        "ALERT_WAITING_JOBS": settings.alert_waiting_jobs,
        "ALERT_SUCCESS_RATE": settings.alert_success_rate,
        "QUEUE_MAX": settings.queue_max,
    }
    return (
        # First: the others then wait for a slow job store only for what is left of the time.
        DependencyMetrics(lambda: health.report().checks),
        QueueMetrics(QueueStatistics(redis).read, _breaker_states(services).read),
        SettingMetrics(thresholds, processes=settings.web_concurrency),
        *(
            StoreCollector(subject, read)
            for subject, read in (
                ("the state log", lambda: collectors.state_log(read_backlogs(redis, groups))),
                ("the job store", lambda: collectors.servers(read_servers(redis))),
                ("archives", lambda: collectors.archives(totals.read())),
                ("the bucket", lambda: collectors.bucket(measured.read())),
            )
        ),
    )


def _history(services: Services) -> HistoryReader | None:
    if services.database_reader is None:
        return None
    from common.history import HistoryReader  # Requires the extra `history`.

    return HistoryReader(services.database_reader)


def _download_links(services: Services) -> DownloadLinks:
    return DownloadLinks(
        services.redis,
        continued_for=services.settings.link_ttl,
        log_downloads=services.database is not None,
    )


def _archive_delivery(services: Services) -> ArchiveDelivery:
    settings = services.settings
    if settings.delivery == "redirect":
        return RedirectDelivery(services.presenter)
    return NginxDelivery(
        services.presenter, services.storage, trusts_proxy=settings.trusted_proxies > 0
    )


def _user_erasure(services: Services) -> UserErasure:
    history = None
    if services.database is not None:
        from common.history import HistoryErasure  # Requires the extra `history`.

        history = HistoryErasure(services.database)
    return UserErasure(JobErasure(services.redis, services.jobs), history)


def _plans(settings: Settings) -> Plans | None:
    """Return the plans, if there are any. Raise ``SettingError`` if they are invalid."""
    if settings.plan_claim and not settings.plans:
        raise SettingError("PLAN_CLAIM requires PLANS")
    if settings.plan_claim and settings.auth_mode != "jwt":
        raise SettingError("PLAN_CLAIM requires AUTH_MODE=jwt")
    if not settings.plans:
        return None
    defaults = UserPlan(
        name=DEFAULT,
        priorities=tuple(Priority),
        active_jobs=settings.max_active_jobs,
        creates_per_minute=settings.create_per_minute_user,
        bytes_per_day=None,
        weight=1,
        retention=None,
    )
    try:
        return load_plans(settings.plans, defaults, archive_ttl=settings.archive_ttl)
    except InvalidPlans as error:
        raise SettingError(str(error)) from None


def _authenticator(settings: Settings, authorizer: FileAuthorizer) -> Authenticator:
    """Return what identifies callers. Raise ``SettingError`` if the settings are incomplete."""
    if settings.auth_mode == "none":
        if settings.email_claim:
            raise SettingError("EMAIL_CLAIM requires AUTH_MODE=jwt")
        return HeaderAuthenticator()
    if settings.auth_mode != "jwt":
        raise SettingError("AUTH_MODE must be none or jwt")
    if bool(settings.jwt_secret) == bool(settings.jwt_jwks_url):
        raise SettingError("AUTH_MODE=jwt requires either JWT_SECRET or JWT_JWKS_URL")
    if settings.jwt_jwks_url and not (settings.jwt_audience and settings.jwt_issuer):
        # Such an issuer signs tokens for other services too.
        raise SettingError("JWT_JWKS_URL requires JWT_AUDIENCE and JWT_ISSUER")
    try:
        secret, url = settings.jwt_secret, settings.jwt_jwks_url
        keys = RemoteKeys(url) if url else SharedSecret(secret)
    except ValueError as error:
        raise SettingError(str(error)) from None
    return JwtAuthenticator(
        keys,
        audience=settings.jwt_audience or None,
        issuer=settings.jwt_issuer or None,
        leeway=settings.jwt_leeway,
        select_claims=authorizer.select_claims,
        plan_claim=settings.plan_claim,
        email_claim=settings.email_claim,
    )
