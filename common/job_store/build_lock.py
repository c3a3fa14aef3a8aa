"""The lock that lets one job build an archive while others that want the same archive wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.errors import log_failure
from common.job_store.expiry import limit_expiry

if TYPE_CHECKING:
    from redis import Redis

#: Seconds after its last renewal until the lock expires.
TTL: Final = 15.0
RENEW_INTERVAL: Final = 4.0

log = structlog.get_logger(__name__)


class RedisBuildLock:
    """One job's hold on the lock of one archive.

    The lock saves work and protects nothing: two builders with the same plan write the same bytes.
    So every job may build while the job store is unavailable.
    """

    def __init__(self, client: Redis, plan_id: str, job_id: str) -> None:
        self._client = client
        self._key = keys.build_lock(plan_id)
        self._job_id = job_id
        self._renew_at = 0.0

    def acquire(self) -> bool:
        """Return whether this job holds the lock now. A job can acquire its own lock again."""
        try:
            return self._acquire()
        except RedisError as error:
            log_failure(log, "building without the build lock", error)
            return True

    def renew(self) -> None:
        """Extend the lock, or acquire it again if it expired during an outage of the job store.

        May be called often: it acts once in ``RENEW_INTERVAL`` seconds.
        """
        if time.monotonic() < self._renew_at:
            return
        try:
            self._acquire()
        except RedisError as error:
            log_failure(log, "build lock not renewed", error)

    def _acquire(self) -> bool:
        self._renew_at = time.monotonic() + RENEW_INTERVAL
        expiry = round(TTL * 1000)
        holder = self._client.set(self._key, self._job_id, nx=True, get=True, px=expiry)
        if holder == self._job_id:
            self._client.pexpire(self._key, expiry)
        elif holder is not None:
            limit_expiry(self._client, self._key, TTL)
        return holder in (None, self._job_id)

    def release(self) -> None:
        """Let the next job build."""
        try:
            if self._client.get(self._key) == self._job_id:
                self._client.delete(self._key)
        except RedisError as error:
            log_failure(log, "build lock not released; it will expire", error)
