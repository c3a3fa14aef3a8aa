"""How often: fixed windows of one minute, shared by all processes through the job store.

What a user asks for is counted exactly, by the script that makes the job. What comes from an
address is counted in the process, which exchanges its counts with the others once a second: no
answer waits for a round trip because of it, and a store that is away limits nobody by mistake.
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
from common.job_store.quota import CreationQuota

if TYPE_CHECKING:
    from redis import Redis

WINDOW: Final = 60
#: Seconds between exchanges of counts; by so much the limits of addresses may be overrun.
EXCHANGE_EVERY: Final = 1.0
#: Addresses that a process counts within one minute; more are not told apart.
MOST_ADDRESSES: Final = 50_000
_OVERFLOW: Final = "others"


class Rate(NamedTuple):
    """Where a caller stands: requests a minute, how many are left, seconds until it starts anew.

    Below zero are left when the request is one too many.
    """

    limit: int
    remaining: int
    reset: int


@dataclass(slots=True)
class _Count:
    """Hits of one address in this minute: by all processes, and those of them not yet told."""

    total: int = 0
    untold: int = 0


class Creation:
    """A request for a new job on its way: where its caller stands is known once it is counted."""

    def __init__(self, quota: CreationQuota, by_address: Rate) -> None:
        #: For ``JobStore.create``, which counts the request against its user.
        self.quota = quota
        self._by_address = by_address

    @property
    def rate(self) -> Rate:
        """The tighter of the limits of the user and of the address."""
        address, left = self._by_address, self.quota.most - self.quota.hits
        if address.remaining < left:
            return address
        return Rate(self.quota.most, left, address.reset)


class Limiter:
    """Counts requests. ``exchange`` and ``count`` raise ``RedisError`` when the store is away."""

    def __init__(
        self,
        client: Redis,
        *,
        create_user: int,
        create_ip: int,
        rest_ip: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._create_user = create_user
        self._create_ip = create_ip
        self._rest_ip = rest_ip
        self._clock = clock
        self._minute = 0
        #: By kind of request and by address.
        self._counts: dict[str, dict[str, _Count]] = {}
        self._next_exchange = 0.0

    def any_request(self, address: str) -> Rate:
        """Count a request of any kind, without I/O."""
        return self._hit("rest", address, self._rest_ip)

    def creating(self, address: str) -> Creation:
        """Count a request for a new job against the address, without I/O."""
        by_address = self._hit("address", address, self._create_ip)
        return Creation(CreationQuota(minute=self._minute, most=self._create_user), by_address)

    def count(self, user: str, creation: Creation) -> None:
        """Count it against its user, where nobody else does."""
        key = keys.user_rate(user, creation.quota.minute)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.incr(key)
            pipe.expire(key, WINDOW * 2)
            creation.quota.hits = int(pipe.execute()[0])

    def exchange(self) -> None:
        """Tell the other processes of this one's hits and learn of theirs, once a second."""
        now = self._clock()
        self._begin_minute(now)
        if now < self._next_exchange:
            return
        self._next_exchange = now + EXCHANGE_EVERY
        told = [
            (f"limit:{kind}:{address}:{self._minute}", count, count.untold)
            for kind, counts in self._counts.items()
            for address, count in counts.items()
            if count.untold
        ]
        with self._client.pipeline(transaction=False) as pipe:
            for key, _, hits in told:
                pipe.incrby(key, hits)
                pipe.expire(key, WINDOW * 2)
            totals = pipe.execute()[::2]
        for (_, count, hits), total in zip(told, totals, strict=True):
            count.untold -= hits
            count.total = int(total) + count.untold

    def _hit(self, kind: str, address: str, limit: int) -> Rate:
        now = self._clock()
        self._begin_minute(now)
        counts = self._counts[kind]
        address = network(address)
        if address not in counts and len(counts) >= MOST_ADDRESSES:
            address = _OVERFLOW
        count = counts.get(address)
        if count is None:
            count = counts[address] = _Count()
        count.total += 1
        count.untold += 1
        return Rate(limit, limit - count.total, max(1, math.ceil(WINDOW - now % WINDOW)))

    def _begin_minute(self, now: float) -> None:
        minute = int(now // WINDOW)
        if minute != self._minute:
            self._minute = minute
            self._counts = {"rest": {}, "address": {}}


def refuse_excess(rate: Rate) -> None:
    """Raises ``RateLimited`` when nothing is left."""
    if rate.remaining < 0:
        raise RateLimited(retry_after=rate.reset)


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """What counts as one address: an IPv6 subscriber has a whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return address
