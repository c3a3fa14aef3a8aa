"""Circuit breakers for the object storage and the host of the sources, shared by all workers.

While a service is unavailable, jobs wait instead of using up their attempts: queued jobs are not
started, and running jobs go back to the queue. A breaker opens when the service fails a check, or
when several different jobs fail in a row because of it. One job that always fails is no outage.

A library that wraps calls does not fit: jobs run concurrently for minutes and report later, so a
breaker only records how they ended. Its state is two keys of the job store:

- ``breaker:{service}:failures``: the ids of the jobs that failed since the last success, and
  ``open`` while the breaker is not closed.
- ``breaker:{service}:wait``: ``open``, or ``trial`` while one job tries a half-open breaker. It
  expires by the store's clock, since the workers' clocks may differ.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.errors import (
    DependencyUnavailable,
    DownloadError,
    DownloadTimeout,
    NetworkError,
    SourceRateLimited,
    StorageError,
    TemporaryUnavailable,
)
from common.job_store import keys
from common.job_store.circuit_breaker_states import STORAGE, CircuitBreakerState, state_of
from common.job_store.errors import log_failure
from common.job_store.expiry import limit_expiry
from common.object_storage import BadChecksum
from common.sources.files import name_file

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.jobs import Claim
    from common.jobs.model import Artifact
    from common.object_storage import Cancellation
    from common.sources import FileDescription, Source, SourceFile
    from common.sources.base import Fill
    from common.task_group import TaskGroup
    from worker.attempt.control import Control
    from worker.attempt.runner import Build

#: Different jobs that fail in a row until the breaker opens.
FAILURE_THRESHOLD: Final = 3
#: Seconds until an open breaker is half-open.
OPEN_SECONDS: Final = 5.0
#: Seconds between two jobs that try a half-open breaker.
TRIAL_INTERVAL: Final = 1.0
#: Seconds for which a job is postponed again and again without using up an attempt.
MAX_POSTPONEMENT: Final = 3_600.0
#: Seconds for which a closed breaker is not read again.
_CACHE_SECONDS: Final = 0.5
#: Seconds after the last failure until a breaker that nobody uses is closed.
_STATE_TTL: Final = 86_400

#: Errors that may be the service's fault. Only those counted can open a breaker without a check: a
#: timeout may just as well mean a large job.
_COUNTED: Final = (NetworkError, TemporaryUnavailable, SourceRateLimited, StorageError)
_SUSPECT: Final = (*_COUNTED, DownloadTimeout)

log = structlog.get_logger(__name__)


class CircuitBreaker:
    """The breaker of one service. Thread safe. It counts as closed without the job store."""

    def __init__(
        self,
        service: str,
        client: Redis,
        *,
        check: Callable[[], None] | None = None,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        """``check`` raises a ``DownloadError`` when the service is unavailable."""
        self._service = service
        self._client = client
        self._check = check
        self._open_seconds = open_seconds
        self._failures = keys.breaker_failures(service)
        self._wait = keys.breaker_wait(service)
        self._no_failures_until = 0.0

    @property
    def name(self) -> str:
        """The service in words, for operators."""
        return "the object storage" if self._service == STORAGE else f"the host {self._service}"

    def allows_attempt(self) -> bool:
        """Return whether a job may start. A half-open breaker allows one job per interval."""
        try:
            state = self._state()
            return state == "closed" or (
                state == "half-open" and self._start_trial() and self._passes_check()
            )
        except RedisError as error:
            log_failure(log, "circuit breaker unavailable", error, service=self._service)
            return True

    def record_success(self) -> None:
        """Close a half-open breaker, and start counting failures from zero."""
        try:
            state = self._state()
            # A job that succeeds while the breaker is open used the service before the outage.
            if state == "open" or self._has_no_failures():
                return
            self._client.delete(self._failures)
            self._client.delete(self._wait)
        except RedisError as error:
            log_failure(log, "success of a job not recorded", error, service=self._service)
        else:
            if state == "half-open":
                log.info("circuit breaker closed", service=self._service)

    def record_failure(self, job_id: str, error: DownloadError) -> bool:
        """Count a job that failed because of the service; return whether that is an outage."""
        self._no_failures_until = 0.0
        if not self._passes_check():
            return True
        try:
            state = self._state()
            if not isinstance(error, _COUNTED) or state == "open":
                return state != "closed"
            self._client.sadd(self._failures, job_id)
            self._client.expire(self._failures, _STATE_TTL)
            failed_jobs = self._client.scard(self._failures)
        except RedisError as redis_error:
            log_failure(log, "failure of a job not recorded", redis_error, service=self._service)
            return False
        if state == "closed" and failed_jobs < FAILURE_THRESHOLD:
            return False
        self._open(error)
        return True

    def retry_delay(self) -> float:
        """Return the seconds until a postponed job should be tried again."""
        try:
            wait = max(0, self._client.pttl(self._wait)) / 1000
        except RedisError:
            wait = 0.0
        return wait + self._open_seconds * random.uniform(0.05, 0.3)  # noqa: S311

    def _state(self) -> CircuitBreakerState:
        if self._has_no_failures():
            return "closed"
        with self._client.pipeline(transaction=False) as pipe:
            limit_expiry(pipe, self._wait, max(self._open_seconds, TRIAL_INTERVAL))
            pipe.sismember(self._failures, "open")
            pipe.scard(self._failures)
            pipe.get(self._wait)
            _, is_open, failed_jobs, wait = pipe.execute()
        if not is_open and not failed_jobs:
            self._no_failures_until = time.monotonic() + _CACHE_SECONDS
        return state_of(is_open=bool(is_open), wait=wait)

    def _has_no_failures(self) -> bool:
        """Return whether the breaker was just read as closed, without a failure."""
        return time.monotonic() < self._no_failures_until

    def _start_trial(self) -> bool:
        expiry = round(TRIAL_INTERVAL * 1000)
        return bool(self._client.set(self._wait, "trial", nx=True, px=expiry))

    def _passes_check(self) -> bool:
        try:
            if self._check is not None:
                self._check()
        except DownloadError as error:
            self._open(error)
            return False
        return True

    def _open(self, reason: DownloadError) -> None:
        log.warning("circuit breaker open", service=self._service, reason=reason.message)
        try:
            self._client.set(self._wait, "open", px=round(self._open_seconds * 1000))
            self._client.sadd(self._failures, "open")
            self._client.expire(self._failures, _STATE_TTL)
        except RedisError as error:
            log_failure(log, "open breaker not recorded", error, service=self._service)


class CircuitBreakers:
    """The breakers of all services that a job needs."""

    def __init__(self, storage: CircuitBreaker, source: CircuitBreaker | None = None) -> None:
        """``source``: the breaker of the sources' host; None where files come from the storage."""
        self._storage = storage
        self._source = source
        self._all = (storage,) if source is None else (source, storage)

    def allows_attempt(self) -> bool:
        """Return whether a job may start now."""
        return all(breaker.allows_attempt() for breaker in self._all)

    def wrap(self, build: Build) -> Build:
        """Return ``build`` that raises ``DependencyUnavailable`` when a service is at fault."""

        def build_with_breakers(claim: Claim, control: Control) -> Artifact:
            try:
                artifact = build(claim, control)
            except DownloadError as error:
                breaker = self._breaker_for(error)
                if breaker is None:
                    raise
                if breaker.record_failure(claim.job.id, error):
                    reason = f"The circuit breaker of {breaker.name} is open: {error.message}"
                elif breaker is self._storage and _fell_into_outage(claim, error):
                    reason = f"All requests to {breaker.name} failed: {error.message}"
                else:
                    raise
                if postponed_too_long(claim):
                    raise
                raise DependencyUnavailable(reason, retry_after=breaker.retry_delay()) from error
            for breaker in self._all:
                breaker.record_success()
            return artifact

        return build_with_breakers

    def _breaker_for(self, error: DownloadError) -> CircuitBreaker | None:
        is_suspect = isinstance(error, _SUSPECT) and error.retryable
        if not is_suspect or isinstance(error, BadChecksum):
            return None
        return self._source if error.from_source else self._storage


def _fell_into_outage(claim: Claim, error: DownloadError) -> bool:
    """Return whether the storage was unavailable, although it passes its check again.

    Without progress in between, this does not excuse two attempts in a row: a job whose own
    requests always fail has to end.
    """
    return error.all_requests_failed and claim.job.postponed_since is None


def postponed_too_long(claim: Claim) -> bool:
    """Return whether the failure of this attempt counts, so that the job eventually ends."""
    since = claim.job.postponed_since
    return since is not None and claim.job.updated_at - since > MAX_POSTPONEMENT * 1000


class SourceErrorMarker:
    """A source that marks its errors, so that the breaker of the storage does not count them."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(
        self, file_ids: Sequence[int], task_group: TaskGroup, *, cached: Mapping[int, SourceFile]
    ) -> list[FileDescription]:
        with _mark_errors():
            return self._source.describe(file_ids, task_group, cached=cached)

    def read_into(
        self,
        file: SourceFile,
        view: memoryview,
        *,
        start: int,
        cancellation: Cancellation,
        progress: Callable[[int], None],
    ) -> None:
        with _mark_errors(file):
            self._source.read_into(
                file, view, start=start, cancellation=cancellation, progress=progress
            )

    @contextmanager
    def open(
        self, file: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        with ExitStack() as stack:
            with _mark_errors(file):
                fill = stack.enter_context(
                    self._source.open(file, cancellation=cancellation, progress=progress)
                )

            def marking_fill(view: memoryview) -> int:
                with _mark_errors(file):
                    return fill(view)

            yield marking_fill


@contextmanager
def _mark_errors(file: SourceFile | None = None) -> Iterator[None]:
    try:
        yield
    except DownloadError as error:
        error.from_source = True
        if file:
            name_file(error, file.file_id)
        raise
