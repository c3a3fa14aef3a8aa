"""One budget of retries, and one backoff, for all the requests of a job to one service."""

from __future__ import annotations

import math
import random
import threading
import time

#: The retries that a job may make at once, and the successful requests that add one more. The AWS
#: SDKs limit retries in the same way ("Retry behavior" in their reference guide).
MAX_RETRIES = 100
SUCCESSES_PER_RETRY = 5
#: Seconds of the first and the longest pause of all requests of a job after a SlowDown.
FIRST_PAUSE = 0.2
MAX_PAUSE = 5.0


class RetriedRequest:
    """A request that is being sent, until it succeeds or is given up."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        #: Failed attempts in a row.
        self.failures = 0


class RetryBudget:
    """The retries that the threads of a job may still make, and when they may go on. Thread safe.

    Without it, 64 threads would repeat their requests independently, and so keep a storage busy
    that asks them to slow down.

    It also knows whether the service is unavailable: then *all* requests fail, and the job ends its
    attempt after ``max_outage`` seconds. The circuit breaker and the retries of the job wait better
    than a thread does. While one request succeeds, or has not failed twice, the others are retried.
    """

    def __init__(self, *, max_retries: int = MAX_RETRIES, max_outage: float = math.inf) -> None:
        self._lock = threading.Lock()
        #: In fractions of a retry, as one success restores them.
        self._credit = self._max_credit = max_retries * SUCCESSES_PER_RETRY
        self._pause = 0.0
        self._resume_at = 0.0
        self._max_outage = max_outage
        #: The requests that are being sent, and those of them that failed once, and twice. Once is
        #: not enough to give up: all connections break when a proxy restarts.
        self._requests = self._failed = self._failed_twice = 0
        #: When to give up if all requests fail then; infinite until one fails after a success.
        self._give_up_at = math.inf

    @property
    def all_fail(self) -> bool:
        """Whether each of the requests that are being sent has failed and none succeeded since."""
        with self._lock:
            return self._failed == self._requests

    def begin(self) -> RetriedRequest:
        """Count a request with all its attempts; ``end`` must follow."""
        with self._lock:
            self._requests += 1
        return RetriedRequest()

    def end(self, request: RetriedRequest, *, succeeded: bool) -> None:
        """End a request. One that succeeded restores a part of a retry."""
        with self._lock:
            self._requests -= 1
            self._reset(request)
            if succeeded:
                self._give_up_at = math.inf
                self._credit = min(self._max_credit, self._credit + 1)
                self._pause /= 2

    def take_retry(self, request: RetriedRequest) -> bool:
        """Use up one retry for a request that failed; return False if it should not be retried."""
        with self._lock:
            request.failures += 1
            self._failed += request.failures == 1
            self._failed_twice += request.failures == 2
            now = time.monotonic()
            if self._give_up_at == math.inf:
                self._give_up_at = now + self._max_outage
            is_outage = self._failed_twice == self._requests and now >= self._give_up_at
            if is_outage or self._credit < SUCCESSES_PER_RETRY:
                return False
            self._credit -= SUCCESSES_PER_RETRY
            return True

    def add_progress(self, request: RetriedRequest) -> None:
        """Count bytes that were received before an attempt failed."""
        with self._lock:
            self._reset(request)
            self._give_up_at = math.inf

    def slow_down(self) -> None:
        """Pause all requests of the job, twice as long as the last time.

        Requests that were already running report the same overload; they do not add to it.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._resume_at:
                return
            self._pause = min(MAX_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
            self._resume_at = now + self._pause

    def remaining_pause(self) -> float:
        """Return the seconds until the next request may be sent, with jitter."""
        pause = self._resume_at - time.monotonic()
        return self.shorten(pause * random.uniform(1.0, 1.5)) if pause > 0 else 0.0  # noqa: S311

    def shorten(self, delay: float) -> float:
        """Return ``delay``, or the time until the job gives up if that is less."""
        with self._lock:
            if self._failed < self._requests:
                return delay
            return max(0.0, min(delay, self._give_up_at - time.monotonic()))

    def _reset(self, request: RetriedRequest) -> None:
        self._failed -= request.failures >= 1
        self._failed_twice -= request.failures >= 2
        request.failures = 0
