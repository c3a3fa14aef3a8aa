"""Who builds an archive that several jobs want at the same time: one does, the others wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis

#: A turn lapses so long after its last renewal, seconds.
LASTS: Final = 15.0
RENEW_EVERY: Final = 4.0

log = structlog.get_logger(__name__)


class RedisBuildLock:
    """One job's turn at one archive.

    It saves work and guards nothing: two builders of the same plan write the same bytes. So when
    the store is away, everybody has a turn.
    """

    def __init__(self, client: Redis, plan_id: str, job_id: str) -> None:
        self._client = client
        self._key = keys.building(plan_id)
        self._job_id = job_id
        self._renew_at = 0.0

    def acquire(self) -> bool:
        """Whether it is this job's turn; it is again after the job's worker died."""
        try:
            holder = self._client.set(
                self._key, self._job_id, nx=True, get=True, px=int(LASTS * 1000)
            )
        except RedisError as error:
            log.warning("building without a turn", error=str(error))
            return True
        return holder in (None, self._job_id)

    def renew(self) -> None:
        """Renew the turn; call it often, it acts every few seconds."""
        now = time.monotonic()
        if now < self._renew_at:
            return
        self._renew_at = now + RENEW_EVERY
        try:
            self._client.pexpire(self._key, int(LASTS * 1000))
        except RedisError as error:
            log.warning("a turn was not renewed", error=str(error))

    def release(self) -> None:
        """Let the next one have it."""
        try:
            if self._client.get(self._key) == self._job_id:
                self._client.delete(self._key)
        except RedisError as error:
            log.warning("a turn lapses by itself", error=str(error))
