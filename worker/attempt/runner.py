"""Runs one attempt at one job, from the wake-up to the report of how it ended."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from redis.exceptions import RedisError

from common.errors import (
    CancelRequested,
    DependencyUnavailable,
    DownloadError,
    Draining,
    LeaseLost,
    ProcessingError,
    ResumableDeadline,
    RunsAlone,
)
from common.job_store.errors import is_outage, log_failure
from common.job_store.jobs import RESERVATION
from common.jobs.model import Artifact, Failure, number_copies
from common.jobs.transitions import JobState
from worker.attempt.control import AttemptControl, Control
from worker.attempt.shared_exclusive_lock import SharedExclusiveLock
from worker.attempt.telemetry import observe_attempt

if TYPE_CHECKING:
    from common.clock import Clock
    from common.job_store.jobs import Claim, JobStore
    from common.jobs.model import Job, WakeUp
    from worker.attempt.heartbeat import HeartbeatThread

#: Why a job is returned to the queue after an outage of the job store.
STORE_UNAVAILABLE: Final = "The job store did not respond to the worker."
#: Seconds for which a worker repeats the report of an attempt's result that the job store rejects.
REPORT_TIMEOUT: Final = 600.0
#: Seconds between two of these calls, and between two claims.
STORE_RETRY_INTERVAL: Final = 0.5
#: Seconds to wait after a wake-up whose job may not start now.
REJECTION_PAUSE: Final = 1.0
#: Seconds for which a wake-up waits while a job runs alone; then the sweeper sends it again.
MAX_LOCK_WAIT: Final = 60.0

T = TypeVar("T")

log = structlog.get_logger(__name__)

Build = Callable[["Claim", Control], Artifact]
#: Reports how an attempt ended; returns the job, or None if it was cancelled or has another worker.
Report = Callable[[], "Job | None"]


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Exponential backoff with a jitter of 25 %, so that retries do not come in waves."""

    base: float = 1.0
    max_delay: float = 60.0

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the failure of ``attempt`` (1, 2, …)."""
        exact = min(self.max_delay, self.base * 2.0 ** (attempt - 1))
        return exact * random.uniform(0.75, 1.25)  # noqa: S311


class AttemptRunner:
    """Runs attempts. Thread safe."""

    def __init__(
        self,
        jobs: JobStore,
        heartbeat: HeartbeatThread,
        build: Build,
        *,
        name: str,
        deadline: float,
        backoff: Backoff,
        allows_attempt: Callable[[], bool] = lambda: True,
        clock: Clock = time,
        condition: Callable[[], threading.Condition] = threading.Condition,
    ) -> None:
        """``name``: this worker's; ``deadline``: seconds that one attempt may take.

        While ``allows_attempt`` returns False, jobs stay in the queue, and the sweeper sends their
        wake-ups again.
        """
        self._jobs = jobs
        self._heartbeat = heartbeat
        self._build = build
        self._name = name
        self._deadline = deadline
        self._backoff = backoff
        self._allows_attempt = allows_attempt
        self._clock = clock
        self._lock = SharedExclusiveLock(condition)

    def run_download(self, wake_up: WakeUp) -> None:
        """Claim the job if it is queued, build its archive, and report how that ended."""
        if not self._allows_attempt():
            # The pause keeps the other wake-ups in the broker, where the sweeper sees them wait.
            self._clock.sleep(REJECTION_PAUSE)
            return
        try:
            with self._lock.shared(MAX_LOCK_WAIT) as may_start:
                if may_start and (claim := self._claim(wake_up.job_id, wake_up)):
                    self._run(claim)
        except RunsAlone as error:
            self._run_alone(wake_up.job_id, error.reservations)

    def _run_alone(self, job_id: str, reservations: int) -> None:
        """Run a job that may be what killed its workers when nothing else runs on this one.

        No other job starts here meanwhile, so give up if those that run take long: another worker
        may be idle. Each time, wait twice as long as the time before, so that the job gets its turn
        although all workers are always busy.
        """
        give_up_at = self._clock.monotonic() + RESERVATION * 2.0 ** (reservations - 1)
        with self._lock.exclusive() as wait_until_alone:
            while True:
                is_alone = wait_until_alone(RESERVATION / 3)
                if not is_alone and self._clock.monotonic() >= give_up_at:
                    return  # The reservation ends, and the sweeper sends another wake-up.
                try:
                    claim = self._claim(job_id, alone=is_alone)
                except RunsAlone:
                    continue  # It stays reserved for this worker, whose other jobs still run.
                if claim:
                    log.warning("job runs alone, because its workers were lost repeatedly")
                    self._run(claim)
                return

    def _claim(
        self, job_id: str, wake_up: WakeUp | None = None, *, alone: bool = False
    ) -> Claim | None:
        """Claim a job, and repeat the claim while the job store does not respond.

        The store may have accepted the claim without a response. If this worker gave up, the job
        would wait until its lease expires and lose an attempt.
        """
        token = secrets.token_hex(8)
        return self._until_stored(
            lambda: self._jobs.claim(job_id, self._name, wake_up, alone=alone, token=token),
            "job not claimed yet",
        )

    def _run(self, claim: Claim) -> None:
        with observe_attempt(claim.job) as attempt_ended:
            control = AttemptControl(deadline=self._deadline, clock=self._clock.monotonic)
            log.info("attempt started", files=len(claim.spec.file_ids))
            with self._heartbeat.keep_lease(claim.lease, control):
                report = self._attempt(claim, control)
                job = self._retry_report(report)
                attempt_ended(job)
            if job is not None and job.status is JobState.COMPLETED:
                _run_deferred(control)

    def _attempt(self, claim: Claim, control: AttemptControl) -> Report:
        """Build the archive and return the report of how that ended."""
        lease = claim.lease
        try:
            artifact = self._build(claim, control)
        except (CancelRequested, LeaseLost) as reason:
            log.info("attempt stopped", code=reason.code, reason=reason.message)
            return lambda: None
        except (Draining, ResumableDeadline) as reason:
            log.info("attempt stopped, job returned to queue", code=type(reason).__name__)
            message = reason.message
            return lambda: self._jobs.return_to_queue(lease, reason=message)
        except DependencyUnavailable as error:
            message, delay = error.message, error.retry_after or 0.0
            log.warning("attempt postponed", reason=message)
            return lambda: self._jobs.return_to_queue(lease, delay, reason=message, postponed=True)
        except DownloadError as error:
            return self._failure_report(claim, control, error)
        except RedisError as error:
            log_failure(log, "attempt stopped", error)
            if not is_outage(error):  # Without a limit the job would run into it forever.
                return self._failure_report(claim, control, ProcessingError())
            return lambda: self._jobs.return_to_queue(lease, reason=STORE_UNAVAILABLE)
        except Exception:
            log.exception("attempt raised an unexpected error")
            return self._failure_report(claim, control, ProcessingError())
        progress, _ = control.progress()
        return lambda: self._jobs.complete(lease, artifact, progress, control.all_reports())

    def _failure_report(
        self, claim: Claim, control: AttemptControl, error: DownloadError
    ) -> Report:
        failure = Failure(code=error.code, message=error.message, retryable=error.retryable)
        log.warning("attempt failed", code=error.code, reason=error.message)
        if error.retryable and claim.job.retries_remaining > 0:
            delay = max(self._backoff.delay(claim.job.attempt), error.retry_after or 0.0)
            return lambda: self._jobs.retry_later(claim.lease, failure, delay)
        for file_id, copy in number_copies(claim.spec.file_ids):
            if file_id == error.file_id:
                control.file_done(
                    file_id,
                    copy=copy,
                    state="failed",
                    size=None,
                    name=None,
                    error_code=error.code,
                    error=error.message,
                )
        return lambda: self._jobs.fail(claim.lease, failure, control.all_reports())

    def _retry_report(self, report: Report) -> Job | None:
        """Call ``report`` until the job store accepts it, so that finished work is not repeated.

        Meanwhile the heartbeats go on, so that the attempt is not lost when an outage ends.
        """
        try:
            job = self._until_stored(report, "result not reported yet", timeout=REPORT_TIMEOUT)
        except LeaseLost as error:
            log.warning("result rejected, lease lost", reason=error.message)
            return None
        if job is not None:
            log.info("attempt ended", status=job.status, version=job.version)
        return job

    def _until_stored(self, call: Callable[[], T], message: str, *, timeout: float = 0.0) -> T:
        """Repeat ``call`` until the job store responds; log ``message`` while it does not.

        An outage may take any time. Raises ``RedisError`` after ``timeout`` seconds if the error is
        not an outage, or if the process shuts down.
        """
        give_up_at = self._clock.monotonic() + timeout
        while True:
            try:
                return call()
            except RedisError as error:
                may_give_up = self._heartbeat.draining or not is_outage(error)
                if may_give_up and self._clock.monotonic() >= give_up_at:
                    raise
                log_failure(log, message, error)
                self._clock.sleep(STORE_RETRY_INTERVAL)


def _run_deferred(control: AttemptControl) -> None:
    """Run what an attempt deferred. A failure is only logged: the cleanup repeats what matters."""
    for step in control.deferred:
        try:
            step()
        except Exception:
            log.exception("deferred step failed after job completion")
