"""Builds the services of a process: the only place that creates clients and connections."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from common import redis_url
from common.authorization import AllFiles, AuthorizationService, ClaimedFiles, FileAuthorizer
from common.celery_app import celery_app
from common.email_addresses import is_email_address
from common.job_store.client import open_client
from common.job_store.dead_letters import DeadLetters
from common.job_store.deliveries import Deliveries
from common.job_store.forecaster import Forecaster
from common.job_store.jobs import JobStore, Limits
from common.job_store.pause import Pause
from common.job_store.queries import JobQueries
from common.job_store.sweeper import Sweeper
from common.job_store.webhook_secrets import WebhookSecrets
from common.job_store.worker_registry import WorkerRegistry
from common.job_tickets import TICKET_TTL, JobTickets
from common.jobs.presenter import JobPresenter, LinkSigner
from common.object_storage import ObjectStorage
from common.object_storage.options import StorageOptions
from common.settings import SettingError
from common.sources import HostLimits, Source, source_from_template
from common.wake_ups import Dispatcher
from common.webhook_signing import WebhookKeys

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis
    from sqlalchemy import Engine

    from common.jobs.model import Job
    from common.settings import Settings


#: Idle connections to the object storage for each job that runs: one for each concurrent read.
CONNECTIONS_PER_JOB: Final = 64
#: Connections to PostgreSQL per process.
DATABASE_CONNECTIONS: Final = 3
#: What WEBHOOK_SECRET and AUTHORIZE_SECRET look like.
SIGNING_KEY_FORMAT: Final = (
    "whsec_ followed by base64, for example the output of: echo whsec_$(openssl rand -base64 32)"
)


@dataclass(frozen=True, kw_only=True)
class Services:
    """The clients and stores that a process uses."""

    settings: Settings
    redis: Redis
    celery: Celery
    dispatcher: Dispatcher
    jobs: JobStore
    queries: JobQueries
    sweeper: Sweeper
    deliveries: Deliveries
    webhook_secrets: WebhookSecrets
    webhook_keys: WebhookKeys
    dead_letters: DeadLetters
    pause: Pause
    workers: WorkerRegistry
    storage: ObjectStorage
    #: Where files come from.
    source: Source
    #: When queued jobs will be finished.
    forecaster: Forecaster
    presenter: JobPresenter
    #: Which files a user may have.
    authorizer: FileAuthorizer
    #: Tickets for the URLs of one job.
    tickets: JobTickets
    #: PostgreSQL; None if there is no history.
    database: Engine | None
    #: The same, or a replica of it that may lag behind.
    database_reader: Engine | None

    def short_timeout_client(self) -> Redis:
        """Return a client for calls that a job should not wait for."""
        return open_client(self.settings.redis_url, timeout=2.0)

    def own_connection(self) -> Redis:
        """Return a client with a connection that nothing else uses, for the worker registry."""
        # Longer than any stall that should not look like the death of this worker, and shorter than
        # a lease: the same thread extends the leases.
        timeout = min(5.0, self.settings.lease_seconds / 2)
        return open_client(self.settings.redis_url, timeout=timeout, own_connection=True, retries=0)


def connect(settings: Settings, *, timeout: float) -> Services:
    """Build all services. Connections are opened on first use.

    ``timeout``: seconds that a call to the job store may take, retries included. Short for the API,
    which has to respond with 503 within 2 s; long for a worker, which has to survive a restart of
    the store.
    """
    storage = ObjectStorage(
        endpoint=settings.s3_endpoint_url or None,
        public_endpoint=settings.s3_public_endpoint_url or None,
        region=settings.s3_region or None,
        options=StorageOptions(
            encryption=settings.s3_sse,
            kms_key_id=settings.s3_sse_kms_key_id,
            acl=settings.s3_acl,
            storage_class=settings.s3_storage_class,
            bucket_owner=settings.s3_bucket_owner,
            request_payer=settings.s3_request_payer,
        ),
        max_idle_connections=CONNECTIONS_PER_JOB * settings.worker_concurrency,
    )
    client = open_client(settings.redis_url, timeout=timeout)
    database = _database(settings.database_url, timeout)
    reader = _database(settings.database_read_url, timeout) if database else None
    # A request sends its wake-up last, and must not wait for a broker that hangs.
    return assemble(
        settings,
        client,
        storage,
        database,
        database_reader=reader,
        broker_timeout=min(5.0, timeout / 3),
    )


def assemble(
    settings: Settings,
    client: Redis,
    storage: ObjectStorage,
    database: Engine | None = None,
    *,
    database_reader: Engine | None = None,
    broker_timeout: float = 5.0,
) -> Services:
    """Build the services on existing clients, such as those of a test."""
    _check_email(settings)
    celery = celery_app(settings.broker, timeout=broker_timeout)
    dispatcher = Dispatcher(celery, same_server=same_server(settings.redis_url, settings.broker))
    limits = Limits(
        max_active=settings.max_active_jobs,
        max_attempts=settings.max_retries + 1,
        lease=settings.lease_seconds,
        job_ttl=settings.job_ttl,
        archive_ttl=settings.archive_ttl,
    )
    jobs = JobStore(client, dispatcher, limits)
    authorizer = _authorizer(settings)
    tickets = JobTickets(settings.ticket_secret or secrets.token_urlsafe(32))
    forecaster = Forecaster(client)
    return Services(
        settings=settings,
        redis=client,
        celery=celery,
        dispatcher=dispatcher,
        jobs=jobs,
        queries=JobQueries(client),
        workers=WorkerRegistry(client),
        sweeper=Sweeper(
            client,
            dispatcher,
            limits,
            max_wait=settings.priority_boost_after,
            heartbeat=settings.worker_heartbeat,
        ),
        deliveries=Deliveries(client),
        webhook_secrets=WebhookSecrets(client),
        webhook_keys=_webhook_keys(settings),
        dead_letters=DeadLetters(client, jobs),
        pause=Pause(client),
        storage=storage,
        source=_source(settings, storage),
        forecaster=forecaster,
        presenter=_presenter(settings, storage, tickets, authorizer, forecaster),
        authorizer=authorizer,
        tickets=tickets,
        database=database,
        database_reader=database_reader or database,
    )


def _presenter(
    settings: Settings,
    storage: ObjectStorage,
    tickets: JobTickets,
    authorizer: FileAuthorizer,
    forecaster: Forecaster,
) -> JobPresenter:
    def result_url(job: Job) -> str:
        base = f"{settings.public_url.rstrip('/')}/v1/download/{job.id}"
        return f"{base}?ticket={tickets.issue(job.id, job.user)}"

    delivered_by_api = _delivered_by_api(settings)
    signed_by_session = not delivered_by_api and (
        settings.link_signer == "s3" or settings.direct_single_file
    )
    return JobPresenter(
        _link_signer(settings, storage),
        link_ttl=settings.link_ttl,
        clock=now_ms,
        links_expire_at=storage.links_expire_at if signed_by_session else lambda: None,
        forecast=forecaster.forecast,
        # A signed link cannot be revoked, so it is only made for a download that is checked again.
        result_url=result_url if delivered_by_api or authorizer.is_revocable else None,
        result_url_ttl=TICKET_TTL,
    )


def _link_signer(settings: Settings, storage: ObjectStorage) -> LinkSigner:
    """Return what signs links. Raise ``SettingError`` if its settings do not fit."""
    if settings.link_signer == "s3":
        return storage
    if settings.link_signer != "cloudfront":
        raise SettingError("LINK_SIGNER must be s3 or cloudfront")
    if settings.delivery != "redirect":
        raise SettingError("LINK_SIGNER=cloudfront requires DELIVERY=redirect")
    for name in ("cloudfront_domain", "cloudfront_key_pair_id"):
        if not getattr(settings, name):
            raise SettingError(f"LINK_SIGNER=cloudfront requires {name.upper()}")
    # Takes memory, and only this uses it.
    from common.object_storage.cloudfront import CloudFrontLinks

    try:
        return CloudFrontLinks(
            domain=settings.cloudfront_domain,
            key_pair_id=settings.cloudfront_key_pair_id,
            private_key=_cloudfront_key(settings),
            bucket=settings.archive_bucket,
            others=storage,
        )
    except ValueError as error:
        raise SettingError(
            f"CLOUDFRONT_DOMAIN or CLOUDFRONT_PRIVATE_KEY is invalid: {error}"
        ) from None


def _cloudfront_key(settings: Settings) -> bytes:
    text, path = settings.cloudfront_private_key, settings.cloudfront_private_key_file
    if bool(text) == bool(path):
        raise SettingError(
            "LINK_SIGNER=cloudfront requires exactly one of CLOUDFRONT_PRIVATE_KEY and "
            "CLOUDFRONT_PRIVATE_KEY_FILE"
        )
    try:
        # In files of variables, line breaks are often written as \\n.
        return text.replace("\\n", "\n").encode() if text else Path(path).read_bytes()
    except OSError as error:
        raise SettingError(
            f"CLOUDFRONT_PRIVATE_KEY_FILE cannot be read: {error.strerror}"
        ) from None


def _delivered_by_api(settings: Settings) -> bool:
    """Return whether archives come from the API's own URLs. Raise ``SettingError``."""
    if settings.delivery not in ("redirect", "proxy"):
        raise SettingError("DELIVERY must be redirect or proxy")
    if settings.delivery == "redirect":
        return False
    for name in ("public_url", "ticket_secret"):
        if not getattr(settings, name):
            raise SettingError(f"DELIVERY=proxy requires {name.upper()}")
    return True


def _webhook_keys(settings: Settings) -> WebhookKeys:
    try:
        return WebhookKeys(settings.webhook_secret)
    except ValueError:
        raise SettingError(f"WEBHOOK_SECRET must be {SIGNING_KEY_FORMAT}") from None


def _check_email(settings: Settings) -> None:
    """Raise ``SettingError`` if the settings for emails do not fit."""
    if not settings.smtp_url:
        return
    if not settings.public_url:
        raise SettingError("SMTP_URL requires PUBLIC_URL, which links in emails begin with")
    if not (settings.email_claim or settings.email_to):
        raise SettingError("SMTP_URL requires EMAIL_CLAIM or EMAIL_TO")
    for name, address in (("EMAIL_FROM", settings.email_from), ("EMAIL_TO", settings.email_to)):
        if not is_email_address(address) and (address or name == "EMAIL_FROM"):
            raise SettingError(f"{name} must be an email address")


def _authorizer(settings: Settings) -> FileAuthorizer:
    """Return what decides about files. Raise ``SettingError`` if the settings do not fit."""
    claim, url = settings.authorized_files_claim, settings.authorize_url
    if claim and url:
        raise SettingError("Set either AUTHORIZED_FILES_CLAIM or AUTHORIZE_URL, not both")
    if claim:
        if settings.auth_mode != "jwt":
            raise SettingError("AUTHORIZED_FILES_CLAIM requires AUTH_MODE=jwt")
        return ClaimedFiles(claim)
    if not url:
        return AllFiles()
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise SettingError("AUTHORIZE_URL must be an http or https URL")
    for name in ("authorize_secret", "public_url", "ticket_secret"):
        if not getattr(settings, name):
            raise SettingError(f"AUTHORIZE_URL requires {name.upper()}")
    try:
        return AuthorizationService(
            url,
            secret=settings.authorize_secret,
            cache_seconds=settings.authorize_cache_seconds,
        )
    except ValueError:
        raise SettingError(f"AUTHORIZE_SECRET must be {SIGNING_KEY_FORMAT}") from None


def now_ms() -> int:
    """Return the milliseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000_000


def _source(settings: Settings, storage: ObjectStorage) -> Source:
    hosts = settings.source_redirect_hosts.split(",")
    return source_from_template(
        settings.source_url_template,
        storage=storage,
        redirect_hosts=frozenset(host.strip() for host in hosts if host.strip()),
        authorization=settings.source_authorization or None,
        limits=_host_limits(settings),
    )


def _host_limits(settings: Settings) -> HostLimits:
    return HostLimits(
        requests_per_second=settings.source_host_requests_per_second,
        bytes_per_second=settings.source_host_bytes_per_second,
        connections=settings.source_host_connections,
    )


def _database(url: str, timeout: float) -> Engine | None:
    if not url:
        return None
    # An optional dependency that takes 20 MB of memory: imported only when it is used.
    from common.history import open_engine

    return open_engine(url, timeout=timeout, size=DATABASE_CONNECTIONS)


def same_server(store: str, broker: str) -> bool:
    """Return whether both URLs name the same database, so that one script can write to both."""
    try:
        targets = redis_url.parse(store), redis_url.parse(broker)
    except ValueError:
        return False
    databases = [(each.kind, set(each.hosts), each.service, each.db) for each in targets]
    return targets[0].kind != "cluster" and databases[0] == databases[1]
