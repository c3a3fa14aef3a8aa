"""Rate limits: fixed windows of one minute, shared by all API processes through the job store.

There are three limits. Creating jobs is limited per user and per IP address; all requests are
limited per IP address.

- Per user: counted exactly, by the Lua script that creates the job (``JobStore.create``).
- Per address: counted in the process, which shares its counts with the other processes once a
  second. So no request waits for a round trip because of it, and while the job store is
  unavailable no client is rejected by mistake.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from common.errors import RateLimited
from common.job_store import keys
from common.job_store.jobs import CreationQuota

if TYPE_CHECKING:
    from redis import Redis

#: Seconds.
WINDOW: Final = 60
#: Seconds between exchanges of counts. The limits per address may be exceeded for that long.
SYNC_INTERVAL: Final = 1.0
#: Addresses that a process counts separately within one minute; the rest share one counter.
MAX_ADDRESSES: Final = 50_000
_OTHER_ADDRESSES: Final = "others"


class RateLimit(NamedTuple):
    """The state of a limit: requests per minute, how many remain, seconds until it resets.

    ``remaining`` is negative if the request exceeds the limit.
    """

    limit: int
    remaining: int
    reset: int


@dataclass(slots=True)
class _Count:
    """Requests from one address in this minute."""

    #: By all processes, as far as this one knows.
    total: int = 0
    #: By this process, not yet shared with the others.
    unshared: int = 0


class CreationCount:
    """A counted request for a new job. The user's limit is known once ``quota`` was counted."""

    def __init__(self, quota: CreationQuota, by_address: RateLimit) -> None:
        #: For ``JobStore.create``, which counts the request for its user.
        self.quota = quota
        self._by_address = by_address

    @property
    def rate(self) -> RateLimit:
        """The limit of the user or of the address, whichever has fewer requests remaining."""
        by_address, remaining = self._by_address, self.quota.limit - self.quota.hits
        if by_address.remaining < remaining:
            return by_address
        return RateLimit(self.quota.limit, remaining, by_address.reset)


class RateLimiter:
    """Counts requests.

    ``sync_counts`` and ``count_for_user`` raise ``RedisError`` if the job store is unavailable.
    """

    def __init__(
        self,
        client: Redis,
        *,
        create_user: int,
        create_ip: int,
        rest_ip: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """All limits are per minute.

        ``create_user`` and ``create_ip`` limit new jobs, ``rest_ip`` all requests.
        """
        self._client = client
        self._create_user = create_user
        self._create_ip = create_ip
        self._rest_ip = rest_ip
        self._clock = clock
        self._minute = 0
        #: By kind of request and by address.
        self._counts: dict[str, dict[str, _Count]] = {}
        self._next_sync = 0.0

    def count_request(self, address: str) -> RateLimit:
        """Count a request of any kind for its address, without I/O."""
        return self._count("rest", address, self._rest_ip)

    def count_creation(self, address: str) -> CreationCount:
        """Count a request for a new job for its address, without I/O."""
        by_address = self._count("address", address, self._create_ip)
        return CreationCount(
            CreationQuota(minute=self._minute, limit=self._create_user), by_address
        )

    def count_for_user(self, user: str, creation: CreationCount) -> None:
        """Count a request for its user, for requests that do not go through ``JobStore.create``."""
        key = keys.user_rate(user, creation.quota.minute)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.incr(key)
            pipe.expire(key, WINDOW * 2)
            creation.quota.hits = int(pipe.execute()[0])

    def sync_counts(self) -> None:
        """Share this process's counts with the others and read theirs, once a second."""
        now = self._clock()
        self._start_minute(now)
        if now < self._next_sync:
            return
        self._next_sync = now + SYNC_INTERVAL
        shared = [
            (f"limit:{kind}:{address}:{self._minute}", count, count.unshared)
            for kind, counts in self._counts.items()
            for address, count in counts.items()
            if count.unshared
        ]
        with self._client.pipeline(transaction=False) as pipe:
            for key, _, requests in shared:
                pipe.incrby(key, requests)
                pipe.expire(key, WINDOW * 2)
            totals = pipe.execute()[::2]
        for (_, count, requests), total in zip(shared, totals, strict=True):
            count.unshared -= requests
            count.total = int(total) + count.unshared

    def _count(self, kind: str, address: str, limit: int) -> RateLimit:
        now = self._clock()
        self._start_minute(now)
        counts = self._counts[kind]
        address = network(address)
        if address not in counts and len(counts) >= MAX_ADDRESSES:
            address = _OTHER_ADDRESSES
        count = counts.get(address)
        if count is None:
            count = counts[address] = _Count()
        count.total += 1
        count.unshared += 1
        return RateLimit(limit, limit - count.total, max(1, math.ceil(WINDOW - now % WINDOW)))

    def _start_minute(self, now: float) -> None:
        minute = int(now // WINDOW)
        if minute != self._minute:
            self._minute = minute
            self._counts = {"rest": {}, "address": {}}


def raise_if_exceeded(rate: RateLimit) -> None:
    """Raise ``RateLimited`` if the request exceeds the limit."""
    if rate.remaining < 0:
        raise RateLimited(retry_after=rate.reset)


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return what counts as one address: an IPv6 client usually has a whole /64 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return address
