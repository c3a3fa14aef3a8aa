"""Builds the archives of jobs with this installation's source, object storage and job store."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from common.errors import (
    AuthorizationUnavailable,
    BackendUnavailable,
    DependencyUnavailable,
    DownloadError,
    JobNotFound,
    SourceForbidden,
    StorageError,
)
from common.job_store.archive_references import ArchiveReferences, ArchiveRemovals
from common.job_store.archive_totals import ArchiveTotals
from common.job_store.build_lock import RedisBuildLock
from common.job_store.checkpoints import Checkpoints
from common.job_store.circuit_breaker_states import STORAGE
from common.job_store.errors import is_outage, log_failure
from common.job_store.storage_capabilities import StorageCapabilities
from common.jobs.model import Lease
from common.jobs.transitions import TERMINAL
from common.object_storage import Cancellation, NoSuchKey, StorageProfile
from common.object_storage.endpoints import check_bucket_name
from common.object_storage.errors import StorageBusy, StorageFull
from common.object_storage.lifecycle import check_buckets, expiry_days
from common.object_storage.retry_budget import RetryBudget
from common.sources import Source, source_host
from common.task_group import CHECK_INTERVAL
from worker.archive import BuildOptions, BuildRequest, build
from worker.archive.build_lock import ACQUIRE_INTERVAL
from worker.archive.composing.compose import delete_upload
from worker.archive.composing.upload_log import UploadLog
from worker.archive.expiry import abort_expired_uploads, delete_expired_objects
from worker.archive.planning.layout import PartSizes
from worker.archive.storage_probe import probe_storage
from worker.circuit_breakers import (
    CircuitBreaker,
    CircuitBreakers,
    SourceErrorMarker,
    postponed_too_long,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from common.bootstrap import Services
    from common.job_store.jobs import Claim
    from common.jobs.model import Artifact, Job
    from common.settings import Settings
    from worker.attempt.control import Control

#: Seconds after its first attempt began during which a job may be continued at every deadline, in
#: the same attempt or another one. It limits a job whose files change so often that no archive is
#: ever completed.
MAX_CONTINUATION_AGE = 86_400.0
#: Seconds after which a job that waits for the authorization service asks again.
AUTHORIZATION_DELAY = 5.0
#: Seconds for which a job holds its archive longer than it can need it.
HOLD_MARGIN = 3_600.0
#: Settings that the result of a probe depends on, in addition to the endpoint.
PROBED_SETTINGS = (
    "s3_region", "archive_bucket", "compose_archives", "s3_sse", "s3_sse_kms_key_id", "s3_acl",
    "s3_storage_class", "s3_bucket_owner", "s3_request_payer",
)  # fmt: skip
#: Seconds between two probes after errors.
MIN_PROBE_INTERVAL = 60.0

log = structlog.get_logger(__name__)


class ArchiveBuilder:
    """Builds the archive of any claimed job. Thread safe."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._settings = settings
        self._services = services
        self._storage = services.storage
        self._checkpoints = Checkpoints(services.redis)
        self._references = ArchiveReferences(services.redis)
        self._totals = ArchiveTotals(services.redis)
        check_bucket_name(settings.archive_bucket)
        check_buckets(settings.archive_bucket, settings.source_url_template)
        self._host = source_host(settings.source_url_template)
        self._source: Source = SourceErrorMarker(services.source) if self._host else services.source
        self._lock = threading.Lock()
        self._profile: StorageProfile | None = None
        self._probed_at = -math.inf
        self._distrusts_profile = False
        self._shared = StorageCapabilities(services.redis)
        #: Identifies what a test of the storage depends on, without its address or secrets.
        self._storage_id = _storage_id(services.storage.endpoint, settings)
        #: Whether expired archives are deleted by the storage, or by the bucket's operator.
        self._has_lifecycle = True

    def circuit_breakers(self, client: Redis) -> CircuitBreakers:
        """Return the circuit breakers of the services that archives need."""
        storage = CircuitBreaker(STORAGE, client, check=self._check_storage)
        return CircuitBreakers(storage, CircuitBreaker(self._host, client) if self._host else None)

    def _check_storage(self) -> None:
        # A job has failed just before, so this request need not be retried.
        without_retries = Cancellation(RetryBudget(max_retries=0))
        with suppress(NoSuchKey, SourceForbidden):
            self._storage.head_object(
                self._settings.archive_bucket, "circuit-check",
                timeout=2.0, cancellation=without_retries,
            )  # fmt: skip

    def prepare(self, check: Callable[[], None] = lambda: None) -> StorageProfile:
        """Set up the bucket for archives and return what the storage supports.

        The storage is tested once, by one worker for all, and again after an error. ``check`` is
        called while another thread prepares the storage; it may raise to end the wait. Raises
        ``RedisError`` when the job store is unavailable, as another worker may have tested the
        storage already.
        """
        # Not under the lock: while the job store does not respond, others would wait for this read,
        # and then for their own one.
        shared = None if self._profile else self._shared_profile()
        while not self._lock.acquire(timeout=CHECK_INTERVAL):
            check()
        try:
            if self._profile is None:
                if self._settings.manage_bucket:
                    self._has_lifecycle = self._storage.ensure_bucket(
                        self._settings.archive_bucket, ttl=self._settings.archive_ttl
                    )
                self._profile = shared or self._probe()
                self._storage.profile = self._profile
            return self._profile
        finally:
            self._lock.release()

    def build(self, claim: Claim, control: Control) -> Artifact:
        """Build the archive of a claimed job; see ``worker.archive.build``."""
        profile, job_id = self._prepare(control), claim.job.id
        request = BuildRequest(
            job_id=job_id,
            fencing_token=claim.lease.fencing_token,
            file_ids=claim.spec.file_ids,
            paths=claim.spec.paths,
            manifest=claim.spec.manifest,
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
            can_copy=profile.can_compose and self._settings.compose_archives,
            part_sizes=PartSizes(equal_parts=not profile.mixed_parts),
            build_lock=partial(self._build_lock, job_id),
            hold=partial(self._hold, claim, control),
            forbidden=None if self._allows_everything(claim) else partial(self._forbidden, claim),
            archive_ttl=self._settings.archive_ttl,
            may_continue=partial(_may_continue, claim.job),
            report=self._totals.add,
            defer=control.defer,
        )
        try:
            return build(
                request,
                source=self._source,
                storage=self._storage,
                control=control,
                options=options,
            )
        except DownloadError as error:
            self._distrust_profile(error)
            raise

    def _prepare(self, control: Control) -> StorageProfile:
        """Prepare the storage. A job store that is unavailable costs the attempt no time."""
        while True:
            try:
                return self.prepare(control.check)
            except RedisError as error:
                log_failure(log, "storage profile not read yet", error)
                control.extend_deadline()
                control.check()
                time.sleep(ACQUIRE_INTERVAL)

    def _allows_everything(self, claim: Claim) -> bool:
        return self._services.authorizer.allows_everything and not claim.grant.forbidden

    def _forbidden(self, claim: Claim, file_ids: Sequence[int]) -> frozenset[int]:
        """Return those of the files that the job's user may not have.

        Raise ``DependencyUnavailable`` if there is no decision, so that the job waits, and
        ``AuthorizationUnavailable`` once it has waited for too long.
        """
        try:
            denied = self._services.authorizer.denied(claim.job.user, claim.grant.claims, file_ids)
        except BackendUnavailable as error:
            if postponed_too_long(claim):
                raise AuthorizationUnavailable from error
            raise DependencyUnavailable(
                AuthorizationUnavailable().message, retry_after=AUTHORIZATION_DELAY
            ) from error
        return denied.union(claim.grant.forbidden).intersection(file_ids)

    def remove_uploads_of_ended_jobs(self) -> int:
        """Abort the uploads that ended jobs left behind; return the number of these jobs.

        A failure for one job does not affect the others. Raise ``RedisError`` when the job store is
        unavailable.
        """
        removed = 0
        # Not retried: the next round is soon, and the rest of the cleanup waits for this one.
        once = Cancellation(RetryBudget(max_retries=0))
        for job_id in self._checkpoints.job_ids():
            try:
                if self._has_ended(job_id):
                    upload_log = UploadLog.load(self._checkpoints.for_job(job_id))
                    delete_upload(self._storage, upload_log, once)
                    removed += 1
            except DownloadError as error:
                log.warning("uploads not removed", job_id=job_id, reason=error.message)
            except RedisError as error:
                if is_outage(error):
                    raise
                log_failure(log, "uploads not removed", error, job_id=job_id)
            except Exception:
                log.exception("uploads not removed", job_id=job_id)
        return removed

    def delete_expired(self, renew_lock: Callable[[], object] = lambda: None) -> int:
        """Delete what is expired if no lifecycle rule does; return how many objects and uploads."""
        if self._has_lifecycle:
            return 0
        storage, bucket = self._storage, self._settings.archive_bucket
        # The same age as in the lifecycle rules.
        max_age = timedelta(days=expiry_days(self._settings.archive_ttl))
        now = datetime.now(UTC)
        uploads = abort_expired_uploads(
            storage, bucket, max_age=max_age, now=now, renew_lock=renew_lock
        )
        removals = ArchiveRemovals(self._services.redis)
        return uploads + delete_expired_objects(
            storage, bucket, removals, max_age=max_age, now=now, renew_lock=renew_lock
        )

    def _build_lock(self, job_id: str, plan_id: str) -> RedisBuildLock:
        return RedisBuildLock(self._services.redis, plan_id, job_id)

    def _hold(self, claim: Claim, control: Control, object_key: str) -> bool:
        """Record that the job needs an archive; return False if it has to try again.

        An outage of the job store does not count toward the attempt's deadline.
        """
        settings = self._settings
        # Each attempt holds its archive again.
        keep = settings.job_deadline + settings.archive_ttl + HOLD_MARGIN
        lease = Lease(job_id=claim.job.id, fencing_token=claim.lease.fencing_token)
        try:
            return self._references.hold(object_key, lease, keep=keep)
        except RedisError as error:
            if not is_outage(error):
                raise
            log_failure(log, "archive reference not stored yet", error)
            control.extend_deadline()
            return False

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._services.queries.get(job_id).status in TERMINAL
        except JobNotFound:
            return True

    def _probe(self) -> StorageProfile:
        self._probed_at = time.monotonic()
        profile = probe_storage(
            self._storage,
            self._settings.archive_bucket,
            with_copies=self._settings.compose_archives,
        )
        log.info("storage probed", **profile.to_dict(), lifecycle=self._has_lifecycle)
        try:
            self._shared.publish(
                {**profile.to_dict(), "lifecycle": self._has_lifecycle},
                storage_id=self._storage_id,
            )
        except RedisError as error:
            log_failure(log, "storage profile not published", error)
        return profile

    def _shared_profile(self) -> StorageProfile | None:
        """Return the profile that another worker has found, unless it may be wrong."""
        if self._distrusts_profile:
            return None
        try:
            found = self._shared.read_shared(self._storage_id)
        except RedisError as error:
            if is_outage(error):
                raise
            log_failure(log, "storage profile not read", error)
            return None
        if found is None:
            return None
        found.pop("lifecycle", None)
        return StorageProfile.from_dict(found)

    def _distrust_profile(self, error: DownloadError) -> None:
        """Test the storage again after an error that another profile may avoid."""
        if not isinstance(error, StorageError) or isinstance(
            error, StorageBusy | StorageFull | NoSuchKey
        ):
            return
        with self._lock:
            if time.monotonic() - self._probed_at > MIN_PROBE_INTERVAL:
                self._distrusts_profile, self._profile = True, None


def _storage_id(endpoint: str, settings: Settings) -> str:
    values = [endpoint, *(str(getattr(settings, name)) for name in PROBED_SETTINGS)]
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]


def _may_continue(job: Job) -> bool:
    # Not since its creation: it may have waited in the queue, or have been restarted days later.
    began = job.started_at or job.created_at
    return time.time() - began / 1000 < MAX_CONTINUATION_AGE
