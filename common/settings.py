"""Every setting with its default and its meaning. The only module that reads the environment."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

_PEM_BOUNDARY = re.compile(r"-----[A-Z ]+-----")
_HIGHEST_PORT: Final = 65_535
#: A hundred years, in seconds. The end of a longer time cannot be stored as a date.
_CENTURY: Final = 3_153_600_000
#: The longest validity of a link that is signed for S3, seconds.
_LONGEST_S3_LINK: Final = 604_800
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingError(ValueError):
    """A setting has a value that cannot be used. The message names the setting."""


def _setting(
    default: Any,
    meaning: str,
    *,
    secret: bool = False,
    former_name: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Return a field of ``Settings``.

    A range or choices exclude only what cannot work: a value outside stops the process at start,
    instead of doing harm later.
    """
    metadata = {
        "meaning": meaning,
        "secret": secret,
        "former_name": former_name,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def allowed_values(metadata: Mapping[str, Any]) -> str:
    """Return the range or the choices of a setting as text; empty: there are none."""
    if choices := metadata["choices"]:
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    low, high = metadata["minimum"], metadata["maximum"]
    if low is None:
        return ""
    return f"at least {low}" if high is None else f"{low} to {high}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process. Each field is set by the variable with its name in capitals.

    A setting that was renamed is still read from its former name while the new one is not set.
    """

    # Services
    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0", "Job store: Redis or Valkey 7+", secret=True
    )
    broker_url: str = _setting("", "Celery's broker; empty: same as REDIS_URL", secret=True)
    s3_endpoint_url: str = _setting("", "S3 endpoint; empty: AWS_ENDPOINT_URL_S3, else AWS")
    s3_public_endpoint_url: str = _setting(
        "",
        "S3 endpoint in signed links, if clients reach S3 at another address; with DELIVERY=proxy "
        "the address that nginx uses",
    )
    s3_region: str = _setting(
        "", "S3 region; empty: AWS_DEFAULT_REGION or that of the profile, else us-east-1"
    )
    s3_sse: str = _setting("", "Server-side encryption of archives: AES256 or aws:kms")
    s3_sse_kms_key_id: str = _setting("", "Key for aws:kms; empty: that of the bucket")
    s3_acl: str = _setting("", "Canned ACL of archives, such as bucket-owner-full-control")
    s3_storage_class: str = _setting("", "Storage class of archives; empty: STANDARD")
    s3_bucket_owner: str = _setting("", "Account that must own the archive bucket")
    s3_request_payer: str = _setting(
        "", "requester: pay for requests to source buckets of other accounts"
    )
    source_url_template: str = _setting(
        "s3://files/{file_id}", "Where files come from: s3://bucket/key or https://host/path"
    )
    source_redirect_hosts: str = _setting(
        "", "Other hosts that an HTTP source may redirect to, comma-separated"
    )
    source_authorization: str = _setting(
        "", "Authorization header for an HTTP source; sent to its own host only", secret=True
    )
    source_host_requests_per_second: float = _setting(
        0.0, "Requests a second to each host of an HTTP source, per process; 0: no limit", minimum=0
    )
    source_host_bytes_per_second: int = _setting(
        0, "Bytes a second from each host of an HTTP source, per process; 0: no limit", minimum=0
    )
    source_host_connections: int = _setting(
        0, "Connections to each host of an HTTP source, per process; 0: no limit", minimum=0
    )
    archive_bucket: str = _setting("archives", "Bucket for finished archives")
    manage_bucket: bool = _setting(
        True,
        "Create the archive bucket and add lifecycle rules for the prefixes archives/, indexes/, "
        "jobs/ and probe/; false: leave the bucket to its operator",
    )
    ticket_secret: str = _setting(
        "",
        "Signs tickets; empty: generated at start, so tickets end with the process",
        secret=True,
        former_name="LINK_SECRET",
    )

    # API
    port: int = _setting(8080, "Port of the API", minimum=1, maximum=_HIGHEST_PORT)
    host: str = _setting("127.0.0.1", "Address that the API listens on")
    web_concurrency: int = _setting(1, "API processes on this machine", minimum=1)
    allowed_hosts: str = _setting(
        "",
        "On a loopback address, with AUTH_MODE=none or on API_METRICS_PORT: host names to respond "
        "to besides localhost, 127.0.0.0/8, [::1] and that of PUBLIC_URL, comma-separated; * for "
        "all",
    )
    public_url: str = _setting("", "Base of the URLs in responses; empty: taken from the request")
    trusted_proxies: int = _setting(
        0, "Number of proxies in front that set X-Forwarded-For and X-Forwarded-Proto", minimum=0
    )
    cors_origins: str = _setting(
        "", "Origins that browsers may call from, comma-separated; * for all"
    )
    max_body_bytes: int = _setting(65_536, "Largest request body, bytes", minimum=1)
    request_timeout: int = _setting(
        30, "Longest wait of /v1/download/start, seconds", minimum=0, maximum=69
    )
    start_deprecated_since: str = _setting(
        "",
        "Time from which /v1/download/start is deprecated, ISO 8601: sent as Deprecation, RFC 9745",
    )
    start_sunset: str = _setting(
        "", "Time at which it may be removed, ISO 8601: sent as Sunset, RFC 8594"
    )
    start_deprecation_url: str = _setting(
        "", "Page for its clients' developers, such as your copy of docs/migrating.md"
    )
    polling_interval_ms: int = _setting(
        2_000, "Interval recommended to clients that poll, milliseconds", minimum=1
    )
    heartbeat_interval: float = _setting(
        15.0, "Interval of heartbeats on live streams, seconds", minimum=0.1, maximum=30
    )
    file_id_min: int = _setting(1, "Smallest file ID")
    file_id_max: int = _setting(100_000_000, "Largest file ID")
    max_files: int = _setting(1_000, "Largest number of files in one job", minimum=1)
    admin_token: str = _setting(
        "",
        "Bearer token of operators with AUTH_MODE=none; empty: generated and printed at start",
        secret=True,
    )

    # Authentication
    auth_mode: str = _setting("none", "none: trust X-User-Id; jwt: require a bearer token")
    jwt_secret: str = _setting(
        "", "HS256: secret shared with the token issuer, at least 32 bytes", secret=True
    )
    jwt_jwks_url: str = _setting("", "RS256 and ES256: URL of the issuer's public keys")
    jwt_audience: str = _setting("", "Required audience of tokens")
    jwt_issuer: str = _setting("", "Required issuer of tokens")
    jwt_leeway: float = _setting(30.0, "Allowed clock difference to the issuer, seconds", minimum=0)

    # Authorization of files
    authorized_files_claim: str = _setting(
        "",
        "Claim of the token that lists the user's files, by ID and range; empty: no such limit",
    )
    authorize_url: str = _setting(
        "", "HTTP service that decides which files a user may have; empty: no service is called"
    )
    authorize_secret: str = _setting(
        "", "Signs the requests to AUTHORIZE_URL: whsec_ and base64", secret=True
    )
    authorize_cache_seconds: float = _setting(
        5.0, "How long a decision of AUTHORIZE_URL is remembered, seconds", minimum=0
    )

    # Plans
    plans: str = _setting(
        "",
        "What users may do, by plan: a JSON object or the path of a file; "
        "empty: the same limits for everybody",
    )
    plan_claim: str = _setting(
        "", "Claim of the token that names the user's plan; empty: everybody has the default plan"
    )

    # Limits
    create_per_minute_user: int = _setting(
        60, "New jobs, retries, webhook replays and secret rotations a minute, per user", minimum=1
    )
    create_per_minute_ip: int = _setting(600, "The same, per IP address", minimum=1)
    requests_per_minute_ip: int = _setting(
        6_000,
        "All requests a minute, new jobs included, per IP address; a check counts as one per ten "
        "files, and a list of jobs or files as one per ten entries that it returns",
        minimum=1,
    )
    max_active_jobs: int = _setting(5, "Unfinished jobs per user", minimum=1)
    queue_max: int = _setting(10_000, "Waiting jobs; further ones are rejected with 503", minimum=0)
    max_streams: int = _setting(12_000, "Live streams per API process", minimum=0)
    max_streams_per_address: int = _setting(
        6_000, "Live streams per IP address and API process", minimum=0
    )
    max_streams_per_user: int = _setting(50, "Live streams per user and API process", minimum=0)
    max_waiting_requests: int = _setting(
        1_000, "Requests per API process that wait for a job; further ones get 503", minimum=0
    )
    max_waiting_requests_per_address: int = _setting(
        500, "Waiting requests per IP address and API process", minimum=0
    )
    max_waiting_requests_per_user: int = _setting(
        100, "Waiting requests per user and API process", minimum=0
    )

    # Jobs
    max_retries: int = _setting(
        3,
        "Retries after the first attempt; a job has one more attempt than this (`maxAttempts`)",
        minimum=0,
    )
    retry_base_delay: float = _setting(
        1.0, "First backoff, doubled for each retry, seconds", minimum=0
    )
    retry_max_delay: float = _setting(60.0, "Longest backoff, seconds", minimum=0)
    job_deadline: float = _setting(
        300.0, "Longest run of one attempt, seconds; the next one continues its uploads", minimum=1
    )
    min_rate_bytes: int = _setting(1_024, "Minimum rate of a source, bytes per second", minimum=0)
    min_rate_window: float = _setting(
        30.0, "Time over which the minimum rate is measured, seconds", minimum=0.1
    )
    max_archive_bytes: int = _setting(
        1_099_511_627_776, "Largest total size of a job's files", minimum=1
    )
    direct_single_file: bool = _setting(True, "Deliver a single file as it is, without a ZIP")
    compose_archives: bool = _setting(
        True,
        "Let the object storage copy files into archives where it can; "
        "false: all bytes pass through the worker",
    )
    archive_ttl: int = _setting(
        86_400,
        "Seconds until a finished archive expires and can no longer be downloaded. Its object is "
        "deleted by lifecycle rules, one to three days later",
        minimum=1,
        maximum=_CENTURY,
    )
    job_ttl: int = _setting(
        86_400,
        "How long the job store keeps a finished job, seconds. One with an Idempotency-Key is kept "
        "for at least 24 h after its creation",
        minimum=1,
        maximum=_CENTURY,
    )
    link_ttl: int = _setting(
        3_600, "Validity of a signed link, seconds", minimum=1, maximum=_CENTURY
    )
    priority_boost_after: float = _setting(
        300.0,
        "A job that has waited this long moves up to the next higher priority, seconds",
        former_name="LANE_MAX_WAIT",
        minimum=0,
    )

    # Delivery
    delivery: str = _setting(
        "redirect",
        "redirect: send clients to signed links; proxy: let nginx fetch archives, so that clients "
        "need not reach the object storage",
    )
    link_signer: str = _setting(
        "s3", "What signs links: s3, or cloudfront if clients download through Amazon CloudFront"
    )
    cloudfront_domain: str = _setting("", "Host name of the CloudFront distribution")
    cloudfront_key_pair_id: str = _setting("", "ID of the public key in CloudFront")
    cloudfront_private_key: str = _setting("", "The private RSA key, as PEM", secret=True)
    cloudfront_private_key_file: str = _setting("", "File with the private key, instead")

    # Worker
    worker_concurrency: int = _setting(
        4, "Jobs that a worker process runs at the same time", minimum=1
    )
    lease_seconds: float = _setting(
        10.0,
        "A job whose worker sends no heartbeat for this long is given to another worker",
        minimum=0.1,
    )
    worker_heartbeat: float = _setting(
        0.5,
        "Interval at which a worker extends its leases and notices cancellations, seconds",
        minimum=0.01,
    )
    sweep_interval: float = _setting(
        1.0, "Interval of scans for lost jobs and due retries, seconds", minimum=0.01
    )
    drain_grace: float = _setting(
        25.0,
        "Time that a worker has after SIGTERM, seconds; jobs that still run after 80 % of it "
        "return to the queue",
        minimum=0,
    )

    # History
    database_url: str = _setting(
        "", "PostgreSQL for history and analytics; empty: no history", secret=True
    )
    database_read_url: str = _setting(
        "",
        "Replica of PostgreSQL that the API reads history and analytics from; empty: DATABASE_URL",
        secret=True,
    )
    history_ttl: int = _setting(
        7_776_000,
        "How long history keeps a finished job, seconds; 0: forever",
        minimum=0,
        maximum=_CENTURY,
    )

    # Webhooks
    webhook_secret: str = _setting(
        "",
        "Signs webhooks: whsec_ and base64; several, space-separated, during a rotation; "
        "empty: generated at start, so receivers cannot verify signatures",
        secret=True,
    )
    webhook_allow_private: bool = _setting(
        False, "Allow webhooks to private addresses, for intranets and tests"
    )

    # Email
    smtp_url: str = _setting(
        "",
        "Server for emails: smtps://user:password@host, smtp:// with STARTTLS, or "
        "smtp://host:25?starttls=never; empty: no emails",
        secret=True,
    )
    email_from: str = _setting("", "Sender address of emails")
    email_claim: str = _setting(
        "", "Claim of the token with the user's address, such as email; empty: none"
    )
    email_to: str = _setting(
        "", "Address that emails about jobs of users without an address go to; empty: none"
    )
    email_after: float = _setting(
        60.0, "An email is sent when a job ends that took at least this long, seconds", minimum=0
    )

    # Observability
    metrics_port: int = _setting(
        0, "Port of a worker's metrics, at HOST; 0: none", minimum=0, maximum=_HIGHEST_PORT
    )
    api_metrics_port: int = _setting(
        0,
        "Port that serves the API's metrics without a token, at HOST; 0: none. "
        "/metrics on PORT is for operators",
        minimum=0,
        maximum=_HIGHEST_PORT,
    )
    otlp_endpoint: str = _setting(
        "", "OTLP/HTTP collector for traces, such as http://127.0.0.1:4318; empty: no traces"
    )
    trace_ratio: float = _setting(
        1.0, "Share of new traces that are recorded, 0 to 1", minimum=0, maximum=1
    )
    alert_waiting_jobs: int = _setting(
        1_000, "Waiting jobs beyond which LonghaulManyWaiting fires", minimum=0
    )
    alert_success_rate: float = _setting(
        0.95,
        "Success rate of jobs, 0 to 1, below which LonghaulLowSuccessRate fires",
        minimum=0,
        maximum=1,
    )
    sentry_dsn: str = _setting(
        "", "Sentry project that unexpected errors are reported to; empty: none", secret=True
    )
    sentry_environment: str = _setting(
        "production", "Environment that is reported to Sentry, such as staging"
    )
    log_level: str = _setting(
        "INFO", "Severity from which messages are logged", choices=_LOG_LEVELS
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read settings from ``environ``, by default from the environment of this process.

        Absent and empty variables keep their defaults. Raises ``SettingError``, which names the
        variable, when a value cannot be parsed, is out of range or does not fit another one.
        """
        environ = os.environ if environ is None else environ
        types = typing.get_type_hints(cls)
        values = {}
        for field in dataclasses.fields(cls):
            for name in (field.name.upper(), field.metadata["former_name"]):
                if text := environ.get(name):
                    values[field.name] = _parse(name, text, types[field.name], field.metadata)
                    break
        settings = cls(**values)
        _check_combinations(settings)
        return settings

    def secrets(self) -> frozenset[str]:
        """Return the values that must never be shown: secrets, and the passwords in URLs."""
        fields = (field for field in dataclasses.fields(self) if field.metadata["secret"])
        values = [getattr(self, field.name) for field in fields]
        passwords = [urlsplit(value).password for value in values if "://" in value]
        words = [
            word
            for value in values
            if "://" not in value
            # All keys in PEM begin and end with the same lines.
            for word in _PEM_BOUNDARY.sub(" ", value).replace("\\n", " ").split()
        ]
        return frozenset(word for word in (*passwords, *words) if word)

    @property
    def broker(self) -> str:
        return self.broker_url or self.redis_url


def _parse(name: str, text: str, kind: type, metadata: Mapping[str, Any]) -> Any:
    try:
        value = _BOOLEANS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        value = None
    if value is None or not _is_allowed(value, metadata):
        form = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "")
        expected = ", ".join(filter(None, (form, allowed_values(metadata))))
        raise SettingError(f"{name}={text!r} is not valid: it must be {expected}")
    return value


def _is_allowed(value: Any, metadata: Mapping[str, Any]) -> bool:
    if choices := metadata["choices"]:
        return value in choices
    if isinstance(value, float) and not math.isfinite(value):
        return False
    low, high = metadata["minimum"], metadata["maximum"]
    return (low is None or value >= low) and (high is None or value <= high)


def _check_combinations(settings: Settings) -> None:
    """Raise ``SettingError`` if two settings cannot work together."""
    if settings.lease_seconds <= 2 * settings.worker_heartbeat:
        raise SettingError(
            "LEASE_SECONDS must be more than twice WORKER_HEARTBEAT, or leases of running jobs end"
        )
    if settings.file_id_min > settings.file_id_max:
        raise SettingError("FILE_ID_MIN must not be above FILE_ID_MAX")
    # With the API in between, signed links are valid for minutes only.
    signed_for_s3 = settings.delivery == "redirect" and (
        settings.link_signer == "s3" or settings.direct_single_file
    )
    if signed_for_s3 and min(settings.link_ttl, settings.archive_ttl) > _LONGEST_S3_LINK:
        raise SettingError(
            f"LINK_TTL must be at most {_LONGEST_S3_LINK}, the limit of S3, unless DELIVERY=proxy, "
            "or LINK_SIGNER=cloudfront and DIRECT_SINGLE_FILE=false"
        )
