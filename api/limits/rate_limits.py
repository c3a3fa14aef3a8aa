"""Rate limits: fixed windows of one minute, shared by all API processes through the job store.

There are three limits. Creating jobs is limited per user and per IP address; all requests are
limited per IP address.

- Per user: counted exactly, in the job store. New jobs: by the Lua script that creates them
  (``JobStore.create``). Retries, webhook replays and secret rotations: by ``count_for_user``.
- Per address: counted in the process. Once a second, a request exchanges the counts with the other
  processes (``sync_counts``); if that fails, it gets 503. All other requests wait for no round
  trip, and are limited by the counts that the process has.
"""

from __future__ import annotations

import heapq
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from common.errors import RateLimited
from common.job_store import keys
from common.job_store.jobs import CreationRate

if TYPE_CHECKING:
    from redis import Redis

#: Seconds.
WINDOW: Final = 60
#: Seconds between exchanges of counts. The limits per address may be exceeded for that long.
SYNC_INTERVAL: Final = 1.0
#: Addresses that a process counts at the same time. Beyond that, it forgets those that have been
#: silent for longest.
MAX_ADDRESSES: Final = 50_000
#: Addresses whose counts one exchange includes: those with the most requests.
MAX_SHARED: Final = 1_000
#: IPv4 addresses that a translator writes as IPv6 (RFC 6052, 2.1).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


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


class _Counts:
    """The counts of one kind of request by address, at most ``MAX_ADDRESSES``.

    They are kept in two generations. A count that is used moves to the newer one; when that is half
    of the maximum, the older one is dropped. So a flood from many addresses costs a bounded amount
    of memory, every new address still gets its own count, and an address that keeps sending is
    never forgotten.
    """

    def __init__(self) -> None:
        self._newer: dict[str, _Count] = {}
        self._older: dict[str, _Count] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def get(self, address: str) -> _Count:
        """Return the count of an address, a new one if there is none."""
        count = self._newer.get(address)
        if count is not None:
            return count
        if len(self._newer) >= MAX_ADDRESSES // 2:
            self._newer, self._older = {}, self._newer
        count = self._older.pop(address) if address in self._older else _Count()
        self._newer[address] = count
        return count

    def unshared(self) -> list[tuple[str, _Count]]:
        """Return the counts to share now; the others have few requests and can wait."""
        # During a flood, most addresses have sent a single request.
        minimum = 1 if len(self) <= MAX_SHARED else 2
        found = [
            (address, count)
            for generation in (self._newer, self._older)
            for address, count in generation.items()
            if count.unshared >= minimum
        ]
        if len(found) <= MAX_SHARED:
            return found
        return heapq.nlargest(MAX_SHARED, found, key=lambda pair: pair[1].unshared)


class CreationCount:
    """A counted request for a new job; ``by_user`` lacks its count until the job store has it."""

    def __init__(self, by_user: CreationRate, by_address: RateLimit) -> None:
        #: For ``JobStore.create``, which counts the request for its user.
        self.by_user = by_user
        self._by_address = by_address

    @property
    def rate(self) -> RateLimit:
        """The limit of the user or of the address, whichever has fewer requests remaining."""
        by_address, remaining = self._by_address, self.by_user.limit - self.by_user.requests
        if by_address.remaining < remaining:
            return by_address
        return RateLimit(self.by_user.limit, remaining, by_address.reset)


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
        requests_ip: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """All limits are per minute.

        ``create_user`` and ``create_ip`` limit new jobs, ``requests_ip`` all requests.
        """
        self._client = client
        self.create_user = create_user
        self._create_ip = create_ip
        self._requests_ip = requests_ip
        self._clock = clock
        self._minute = 0
        #: By kind of request and by address.
        self._counts: dict[str, _Counts] = {}
        self._next_sync = 0.0

    def count_request(self, address: str, requests: int = 1) -> RateLimit:
        """Count a request of any kind for its address, without I/O.

        ``requests``: as how many it counts, if it costs more than others.
        """
        return self._count("requests", address, self._requests_ip, requests)

    def count_creation_by_address(self, address: str) -> CreationCount:
        """Count a request for a new job for its address, without I/O."""
        by_address = self._count("creations", address, self._create_ip)
        return CreationCount(CreationRate(minute=self._minute, limit=self.create_user), by_address)

    def count_for_user(self, user: str, creation: CreationCount) -> None:
        """Count a request for its user, for requests that do not go through ``JobStore.create``."""
        key = keys.user_rate(user, creation.by_user.minute)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.incr(key)
            pipe.expire(key, WINDOW * 2)
            creation.by_user.requests = int(pipe.execute()[0])

    def sync_counts(self) -> None:
        """Share this process's counts with the others and read theirs, once a second."""
        now = self._clock()
        self._start_minute(now)
        if now < self._next_sync:
            return
        self._next_sync = now + SYNC_INTERVAL
        shared = [
            (keys.address_rate(kind, address, self._minute), count, count.unshared)
            for kind, counts in self._counts.items()
            for address, count in counts.unshared()
        ]
        with self._client.pipeline(transaction=False) as pipe:
            for key, _, requests in shared:
                pipe.incrby(key, requests)
                pipe.expire(key, WINDOW * 2)
            totals = pipe.execute()[::2]
        for (_, count, requests), total in zip(shared, totals, strict=True):
            count.unshared -= requests
            count.total = int(total) + count.unshared

    def _count(self, kind: str, address: str, limit: int, requests: int = 1) -> RateLimit:
        now = self._clock()
        self._start_minute(now)
        count = self._counts[kind].get(network(address))
        count.total += requests
        count.unshared += requests
        return RateLimit(limit, limit - count.total, max(1, math.ceil(WINDOW - now % WINDOW)))

    def _start_minute(self, now: float) -> None:
        minute = int(now // WINDOW)
        if minute != self._minute:
            self._minute = minute
            self._counts = {"requests": _Counts(), "creations": _Counts()}


def raise_if_exceeded(rate: RateLimit) -> None:
    """Raise ``RateLimited`` if the request exceeds the limit."""
    if rate.remaining < 0:
        raise RateLimited(retry_after=rate.reset)


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return what counts as one address: an IPv6 client usually has a whole /64 network.

    An IPv4 address counts as itself in whatever form it arrives: a server that listens on ``::``
    sees ``::ffff:192.0.2.1`` (RFC 4291, 2.5.5.2), of which all lie in the same /64 network.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed in _NAT64:
        return str(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))
