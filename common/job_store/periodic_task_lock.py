"""Lets one worker at a time run a periodic task, and only once per interval."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.expiry import limit_expiry

if TYPE_CHECKING:
    from redis import Redis

#: Seconds between two runs, by all workers together.
CLEANUP_INTERVAL: Final = 300.0
#: Seconds after which the lock of a worker that died expires. A running task renews it.
LOCK_EXPIRY: Final = 60.0


class PeriodicTaskLock:
    """The lock of one task and the time of its last run, both in the job store.

    The defaults are those of the cleanup.
    """

    def __init__(
        self,
        client: Redis,
        *,
        interval: float = CLEANUP_INTERVAL,
        expiry: float = LOCK_EXPIRY,
        lock_key: str = keys.CLEANUP_LOCK,
        done_key: str = keys.CLEANUP_DONE,
    ) -> None:
        self._client = client
        self._lock_key = lock_key
        self._done_key = done_key
        self._interval = interval
        self._expiry = expiry

    def run_if_due(self, task: Callable[[Callable[[], object]], object]) -> bool:
        """Call ``task`` and return True, unless it is not due or another worker runs it now.

        ``task`` gets a function that renews the lock. It raises ``RedisError`` once the lock has
        expired, which ends the run, because another worker may have started one. A run that raises
        is due again immediately.
        """
        limit_expiry(self._client, self._lock_key, self._expiry)
        limit_expiry(self._client, self._done_key, self._interval)
        lock = self._client.lock(self._lock_key, timeout=self._expiry, thread_local=False)
        if self._is_done() or not lock.acquire(blocking=False):
            return False
        try:
            # Another worker may have finished between the two commands above.
            if self._is_done():
                return False
            task(lock.reacquire)
            self._client.set(self._done_key, 1, px=round(self._interval * 1000))
        finally:
            with suppress(RedisError):  # It expires anyway.
                lock.release()
        return True

    def _is_done(self) -> bool:
        return bool(self._client.exists(self._done_key))
