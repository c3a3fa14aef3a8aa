"""One budget of retries, and one backoff, for all the requests of a job."""

from __future__ import annotations

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


class RetryBudget:
    """The retries that the threads of a job may still make, and when they may go on. Thread safe.

    Without it, 64 threads would repeat their requests independently, and so keep a storage busy
    that asks them to slow down.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: In fractions of a retry, as one success restores them.
        self._credit = MAX_RETRIES * SUCCESSES_PER_RETRY
        self._pause = 0.0
        self._resume_at = 0.0

    def take_retry(self) -> bool:
        """Use up one retry; return False if there is none left."""
        with self._lock:
            if self._credit < SUCCESSES_PER_RETRY:
                return False
            self._credit -= SUCCESSES_PER_RETRY
            return True

    def add_success(self) -> None:
        """Count a successful request."""
        with self._lock:
            self._credit = min(MAX_RETRIES * SUCCESSES_PER_RETRY, self._credit + 1)
            self._pause /= 2

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
        return pause * random.uniform(1.0, 1.5) if pause > 0 else 0.0  # noqa: S311
