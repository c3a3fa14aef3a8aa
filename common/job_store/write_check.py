"""Whether the job store accepts writes, which a PING does not show: it may be full or a replica."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis

#: Seconds after which the written key disappears.
TTL: Final = 10


class WriteCheck:
    """Writes a small key of this process that expires soon."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._key = keys.write_check(secrets.token_hex(8))

    def run(self) -> None:
        """Raise ``RedisError`` unless the job store takes a write."""
        self._client.set(self._key, "1", ex=TTL)
