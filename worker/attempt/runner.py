"""One attempt at one job, from the wake-up to its last word: the whole story on one screen."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.errors import (
    CancelRequested,
    DependencyUnavailable,
    DownloadError,
    Draining,
    LeaseLost,
    ProcessingError,
)
from common.jobs.model import Artifact, Failure
from worker.attempt.control import AttemptControl, Control
from worker.attempt.telemetry import watched

if TYPE_CHECKING:
    from common.job_store.jobs import Claim, JobStore
    from common.jobs.model import Job, WakeUp
    from worker.attempt.heartbeat import HeartbeatThread

#: How long a finished attempt keeps trying to tell the store, seconds.
LAST_WORD_TIMEOUT: Final = 600.0
#: Pause after a wake-up that may not be followed now, seconds.
SLOW_NO: Final = 1.0

log = structlog.get_logger(__name__)

Build = Callable[["Claim", Control], Artifact]


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Exponential, with jitter of a quarter up or down so that retries do not come in waves."""

    base: float = 1.0
    longest: float = 60.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the failure of ``attempt`` (1, 2, …)."""
        exact = min(self.longest, self.base * 2.0 ** (attempt - 1))
        return exact * random.uniform(0.75, 1.25)  # noqa: S311


class Runner:
    """Runs attempts; any number of threads may call ``run_download`` at once."""

    def __init__(
        self,
        jobs: JobStore,
        heart: HeartbeatThread,
        build: Build,
        *,
        name: str,
        deadline: float,
        backoff: Backoff,
        allows_attempt: Callable[[], bool] = lambda: True,
    ) -> None:
        """``build`` makes the archive, ``name`` is this worker's, ``deadline`` is in seconds.

        While ``allows_attempt`` returns False, jobs stay in the queue; the sweeper sends their
        wake-ups again.
        """
        self._jobs = jobs
        self._heart = heart
        self._build = build
        self._name = name
        self._deadline = deadline
        self._backoff = backoff
        self._allows_attempt = allows_attempt

    def run_download(self, wake_up: WakeUp) -> None:
        """Take the job if it waits to be run, do it, and report how it ended."""
        if not self._allows_attempt():
            # A slow no: the other wake-ups stay in the broker, where the sweeper sees them wait.
            time.sleep(SLOW_NO)
            return
        claim = self._jobs.claim(wake_up.job_id, self._name, wake_up)
        if claim is None:
            return
        with watched(claim.job) as done:
            control = AttemptControl(deadline=self._deadline)
            log.info("attempt started", files=len(claim.spec.file_ids))
            with self._heart.beating(claim.lease, control):
                last_word = self._attempt(claim, control)
                done(self._tell(last_word))

    def _attempt(self, claim: Claim, control: AttemptControl) -> Callable[[], Job | None]:
        """Do the work; the answer tells the store how it ended."""
        lease = claim.lease
        try:
            artifact = self._build(claim, control)
        except (CancelRequested, LeaseLost) as stop:
            log.info("attempt stopped", why=stop.code, reason=stop.message)
            return lambda: None
        except Draining:
            return lambda: self._jobs.hand_back(lease)
        except DependencyUnavailable as away:
            log.warning("attempt postponed", reason=away.message)
            delay = away.retry_after or 0.0
            return lambda: self._jobs.hand_back(lease, delay)
        except DownloadError as error:
            return self._failed(claim, control, error)
        except RedisError as away:
            log.warning("attempt stopped, the job store is away", reason=str(away))
            return lambda: self._jobs.hand_back(lease)
        except Exception:
            log.exception("attempt broke")
            return self._failed(claim, control, ProcessingError())
        progress, _ = control.progress()
        return lambda: self._jobs.complete(lease, artifact, progress, control.all_reports())

    def _failed(
        self, claim: Claim, control: AttemptControl, error: DownloadError
    ) -> Callable[[], Job | None]:
        failure = Failure(code=error.code, message=error.message, retryable=error.retryable)
        log.warning("attempt failed", code=error.code, reason=error.message)
        if error.retryable and claim.job.retries_remaining > 0:
            delay = max(self._backoff.delay(claim.job.attempt), error.retry_after or 0.0)
            return lambda: self._jobs.retry_later(claim.lease, failure, delay)
        return lambda: self._jobs.fail(claim.lease, failure, control.all_reports())

    def _tell(self, last_word: Callable[[], Job | None]) -> Job | None:
        """Say it until the store has heard it: the work is done and must not be done again.

        The job as it then is; None when it is not this worker's any more.
        """
        give_up = time.monotonic() + LAST_WORD_TIMEOUT
        while True:
            try:
                job = last_word()
            except LeaseLost as lost:
                log.warning("attempt was superseded", reason=lost.message)
                return None
            except RedisError:
                if time.monotonic() > give_up:
                    raise
                log.warning("the job store is away, the result waits")
                time.sleep(0.5)
            else:
                if job is not None:
                    log.info("attempt ended", status=job.status, version=job.version)
                return job
