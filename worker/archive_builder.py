"""Builds the archives of jobs with this installation's source, object storage and job store."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from redis.exceptions import RedisError

from common.errors import JobNotFound, SourceForbidden
from common.job_store.archive_totals import ArchiveTotals
from common.job_store.build_lock import RedisBuildLock
from common.job_store.checkpoints import Checkpoints
from common.job_store.storage_capabilities import StorageCapabilities
from common.jobs.transitions import TERMINAL
from common.object_storage import NoSuchKey
from common.object_storage.buckets import DAY
from common.object_storage.lifecycle import OWN_PREFIXES
from common.settings import SettingError, Settings
from common.sources import Source, source_from_settings
from worker.archive import BuildOptions, BuildRequest, build
from worker.archive.composing.compose import delete_upload
from worker.archive.composing.upload_log import UploadLog
from worker.archive.expiry import delete_expired_objects
from worker.archive.planning.layout import Geometry
from worker.archive.storage_probe import Capabilities, probe_storage
from worker.circuit_breakers import CircuitBreaker, CircuitBreakers, SourceErrorMarker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

    from common.bootstrap import Services
    from common.job_store.jobs import Claim
    from common.jobs.model import Artifact
    from worker.attempt.control import Control

log = structlog.get_logger(__name__)


class ArchiveBuilder:
    """Builds the archive of any claimed job. Thread safe."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._settings = settings
        self._services = services
        self._storage = services.storage
        self._checkpoints = Checkpoints(services.redis)
        self._totals = ArchiveTotals(services.redis)
        _check_buckets(settings)
        source = source_from_settings(settings, services.storage)
        url = urlsplit(settings.source_url_template)
        #: The host of the source, unless the files are in the object storage.
        self._host = None if url.scheme == "s3" else url.netloc
        self._source: Source = SourceErrorMarker(source) if self._host else source
        self._lock = threading.Lock()
        self._capabilities: Capabilities | None = None
        #: Whether expired archives are deleted by the storage, or by the bucket's operator.
        self._has_lifecycle = True

    def circuit_breakers(self, client: Redis) -> CircuitBreakers:
        """Return the circuit breakers of the services that archives need."""
        storage = CircuitBreaker("storage", client, check=self._check_storage)
        return CircuitBreakers(storage, CircuitBreaker(self._host, client) if self._host else None)

    def _check_storage(self) -> None:
        with suppress(NoSuchKey, SourceForbidden):
            self._storage.head_object(self._settings.archive_bucket, "circuit-check", timeout=2.0)

    def prepare(self) -> Capabilities:
        """Set up the bucket for archives and test what the storage supports. Runs only once."""
        with self._lock:
            if self._capabilities is None:
                bucket = self._settings.archive_bucket
                if self._settings.manage_bucket:
                    self._has_lifecycle = self._storage.ensure_bucket(
                        bucket, ttl=self._settings.archive_ttl
                    )
                if self._settings.compose_archives:
                    self._capabilities = probe_storage(self._storage, bucket)
                    log.info("storage probed", capabilities=self._capabilities)
                    self._publish(asdict(self._capabilities))
                else:
                    # Archives are streamed, which needs none of the tested features.
                    self._capabilities = Capabilities()
                    self._publish({})
            return self._capabilities

    def build(self, claim: Claim, control: Control) -> Artifact:
        """Build the archive of a claimed job; see ``worker.archive.build``."""
        capabilities, job_id = self.prepare(), claim.job.id
        request = BuildRequest(
            job_id=job_id,
            fencing_token=claim.lease.fencing_token,
            file_ids=claim.spec.file_ids,
            file_name=claim.spec.file_name,
            on_missing=claim.spec.on_missing,
            bucket=self._settings.archive_bucket,
            direct_single_file=self._settings.direct_single_file,
            max_bytes=self._settings.max_archive_bytes,
            min_rate=self._settings.min_rate_bytes,
            rate_window=self._settings.min_rate_window,
        )
        options = BuildOptions(
            checkpoint=self._checkpoints.for_attempt(job_id),
            can_copy=capabilities.can_compose,
            geometry=Geometry(equal_parts=not capabilities.mixed_parts),
            build_lock=partial(self._build_lock, job_id),
            report=self._totals.add,
        )
        return build(
            request,
            source=self._source,
            storage=self._storage,
            control=control,
            options=options,
        )

    def remove_uploads_of_ended_jobs(self) -> int:
        """Abort the uploads that ended jobs left behind; return the number of these jobs."""
        removed = 0
        for job_id in self._checkpoints.job_ids():
            if self._has_ended(job_id):
                removed += self._remove_uploads(job_id)
        return removed

    def delete_expired(self, renew_lock: Callable[[], object] = lambda: None) -> int:
        """Delete expired archives if no lifecycle rule does; return the number of objects."""
        if self._has_lifecycle:
            return 0
        return delete_expired_objects(
            self._storage,
            self._settings.archive_bucket,
            # The same age as in the lifecycle rules.
            max_age=timedelta(days=math.ceil(self._settings.archive_ttl / DAY) + 1),
            now=datetime.now(UTC),
            renew_lock=renew_lock,
        )

    def _remove_uploads(self, job_id: str) -> bool:
        upload_log = UploadLog.load(self._checkpoints.for_job(job_id))
        build_lock = self._build_lock(job_id, upload_log.plan_id or "")
        if not build_lock.acquire():
            # Another job builds the same archive under the same keys: its uploads look the same.
            return False
        try:
            delete_upload(self._storage, upload_log)
        finally:
            build_lock.release()
        return True

    def _build_lock(self, job_id: str, plan_id: str) -> RedisBuildLock:
        return RedisBuildLock(self._services.redis, plan_id, job_id)

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._services.queries.get(job_id).status in TERMINAL
        except JobNotFound:
            return True

    def _publish(self, capabilities: Mapping[str, bool]) -> None:
        try:
            StorageCapabilities(self._services.redis).publish(capabilities)
        except RedisError as error:
            log.warning("storage capabilities not published", error=str(error))


def _check_buckets(settings: Settings) -> None:
    """Raise SettingError if expired archives and source files could have the same keys."""
    url = urlsplit(settings.source_url_template)
    if url.scheme != "s3" or url.netloc != settings.archive_bucket:
        return
    key = settings.source_url_template.removeprefix(f"s3://{url.netloc}/").lstrip("/")
    source_prefix = key.partition("{")[0]
    for prefix in OWN_PREFIXES:
        if source_prefix.startswith(prefix) or prefix.startswith(source_prefix):
            raise SettingError(
                f"ARCHIVE_BUCKET={settings.archive_bucket} is also the bucket of the source files. "
                "Use another bucket, or a prefix in SOURCE_URL_TEMPLATE that differs from "
                f"{', '.join(OWN_PREFIXES)}: objects with these prefixes expire."
            )
