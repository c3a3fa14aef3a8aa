"""Every setting, its default and its meaning; the only reader of the environment."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit


class SettingError(ValueError):
    """A setting in the environment has a value that cannot be used; the message names it."""


def _setting(default: Any, meaning: str, *, secret: bool = False) -> Any:
    metadata = {"meaning": meaning, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Read once at start by ``from_env``; the variable of a field is its name in capitals."""

    # Where things are
    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0", "Job store: Redis or Valkey 7+", secret=True
    )
    broker_url: str = _setting("", "Celery's broker; empty: the same as REDIS_URL", secret=True)
    s3_endpoint_url: str = _setting("", "S3 endpoint; empty: AWS")
    s3_public_endpoint_url: str = _setting(
        "", "The endpoint that signed links name, where clients reach S3 by another address"
    )
    s3_region: str = _setting("us-east-1", "S3 region")
    source_url_template: str = _setting(
        "s3://files/{file_id}", "The catalogue: s3://bucket/key or https://host/path"
    )
    source_redirect_hosts: str = _setting(
        "", "Hosts that an HTTP source may redirect to besides its own, by commas"
    )
    source_authorization: str = _setting(
        "", "Authorization header for an HTTP source, sent to its own host only", secret=True
    )
    archive_bucket: str = _setting("archives", "Bucket for finished archives")
    link_secret: str = _setting(
        "",
        "Signs tickets and cursors; empty: one made up at start, good for one process",
        secret=True,
    )

    # The API
    port: int = _setting(8080, "Port of the API")
    host: str = _setting("127.0.0.1", "Address of the API")
    public_url: str = _setting("", "Base of the URLs in answers; empty: as the client called")
    trusted_proxies: int = _setting(0, "How many proxies in front set X-Forwarded-For and -Proto")
    cors_origins: str = _setting("", "Origins that browsers may call from, by commas; * for all")
    max_body_bytes: int = _setting(65_536, "Largest request body, bytes")
    request_timeout: int = _setting(30, "Longest wait of /v1/download/start, seconds")
    polling_interval_ms: int = _setting(2_000, "Advised to clients that poll, milliseconds")
    heartbeat_interval: float = _setting(15.0, "Between heartbeats of a live stream, seconds")
    file_id_min: int = _setting(1, "Smallest file id")
    file_id_max: int = _setting(100_000_000, "Largest file id")
    max_files: int = _setting(1_000, "Most files in one job")
    admin_token: str = _setting(
        "",
        "Bearer token for the operator's calls; empty: only from this machine itself",
        secret=True,
    )

    # Who may call
    auth_mode: str = _setting("none", "none: X-User-Id is believed; jwt: a bearer token is needed")
    jwt_secret: str = _setting(
        "", "HS256: the secret shared with the issuer of tokens, 32 bytes at least", secret=True
    )
    jwt_jwks_url: str = _setting("", "RS256 and ES256, instead: where the issuer shows its keys")
    jwt_audience: str = _setting("", "What tokens have to name as their audience")
    jwt_issuer: str = _setting("", "What tokens have to name as their issuer")
    jwt_leeway: float = _setting(30.0, "By how much the issuer's clock may differ, seconds")

    # Limits
    create_per_minute_user: int = _setting(60, "New jobs a minute, per user")
    create_per_minute_ip: int = _setting(600, "New jobs a minute, per address")
    requests_per_minute_ip: int = _setting(6_000, "All other requests a minute, per address")
    max_active_jobs: int = _setting(5, "Unfinished jobs per user")
    queue_max: int = _setting(10_000, "Jobs that may wait before new ones get 503")
    max_streams: int = _setting(12_000, "Live streams per API process")
    max_streams_per_user: int = _setting(50, "Live streams per user and API process")

    # The job
    max_retries: int = _setting(3, "Further attempts after a retryable failure")
    retry_base_delay: float = _setting(1.0, "First backoff; doubles each time, seconds")
    retry_max_delay: float = _setting(60.0, "Longest backoff, seconds")
    job_deadline: float = _setting(300.0, "Longest run of one attempt, seconds")
    min_rate_bytes: int = _setting(1_024, "Slowest source that is waited for, bytes per second")
    min_rate_window: float = _setting(30.0, "Over how many seconds the minimum rate is taken")
    max_archive_bytes: int = _setting(1_099_511_627_776, "Largest sum of file sizes, bytes")
    direct_single_file: bool = _setting(True, "Deliver a single file as itself, without a ZIP")
    compose_archives: bool = _setting(
        True,
        "Let the storage copy files into archives itself, where it can; "
        "false: all bytes pass the worker",
    )
    archive_ttl: int = _setting(86_400, "How long an archive can be fetched, seconds")
    job_ttl: int = _setting(86_400, "How long a finished job is remembered, seconds")
    link_ttl: int = _setting(3_600, "Validity of a signed link, seconds")
    lane_max_wait: float = _setting(
        300.0, "After this wait a job queues with those of the next higher priority, seconds"
    )

    # The worker
    worker_concurrency: int = _setting(4, "Jobs at once per worker process")
    lease_seconds: float = _setting(10.0, "A job whose worker is silent this long is taken away")
    worker_heartbeat: float = _setting(
        0.5, "How often a worker renews its leases and looks for cancelled jobs, seconds"
    )
    sweep_interval: float = _setting(1.0, "Between looks for lost jobs and due retries, seconds")
    drain_grace: float = _setting(25.0, "From SIGTERM until running jobs are handed back, seconds")

    # History
    database_url: str = _setting(
        "", "PostgreSQL for history and analytics; empty: none is kept", secret=True
    )
    history_ttl: int = _setting(
        7_776_000, "How long history keeps a finished job, seconds; 0: for ever"
    )

    # Webhooks
    webhook_secret: str = _setting(
        "",
        "Signs webhooks: whsec_ and base64, several by spaces while receivers change over; "
        "empty: one made up at start that no receiver can check",
        secret=True,
    )
    webhook_allow_private: bool = _setting(
        False, "Let webhooks go to private addresses: for intranets and tests"
    )

    # Sight
    metrics_port: int = _setting(0, "Port of a worker's metrics, at HOST; 0: none")
    otlp_endpoint: str = _setting(
        "", "Collector for traces, OTLP over HTTP, such as http://127.0.0.1:4318; empty: no traces"
    )
    trace_ratio: float = _setting(1.0, "Share of the traces begun here that are kept, 0 to 1")
    sentry_dsn: str = _setting(
        "", "Where unexpected errors are reported; empty: nowhere", secret=True
    )
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Settings from variables; absent and empty ones keep their defaults.

        Raises ``SettingError`` that names the variable when a value does not parse.
        """
        kinds = typing.get_type_hints(cls)
        values = {
            field.name: _parse(field.name, environ[field.name.upper()], kinds[field.name])
            for field in dataclasses.fields(cls)
            if environ.get(field.name.upper())
        }
        return cls(**values)

    def secrets(self) -> frozenset[str]:
        """Values that must never be shown: secrets, and the passwords in URLs."""
        fields = (field for field in dataclasses.fields(self) if field.metadata["secret"])
        values = [getattr(self, field.name) for field in fields]
        passwords = [urlsplit(value).password for value in values if "://" in value]
        words = [word for value in values if "://" not in value for word in value.split()]
        return frozenset(word for word in (*passwords, *words) if word)

    @property
    def broker(self) -> str:
        return self.broker_url or self.redis_url


def _parse(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError):
        raise SettingError(f"{name.upper()}={text!r} is not a valid {kind.__name__}") from None
