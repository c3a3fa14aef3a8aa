"""How often: fixed windows of one minute, shared by all processes through the job store.

Jobs are counted exactly, in one round trip for both the user and the address. All other requests
are counted in the process, which exchanges its counts with the others once a second: an answer to
a poll waits for one round trip, not two, and a store that is away limits nobody by mistake.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from api.errors import RateLimited

if TYPE_CHECKING:
    from redis import Redis

WINDOW: Final = 60
#: Seconds between exchanges of counts; by so much the general limit may be overrun.
EXCHANGE_EVERY: Final = 1.0
#: Addresses that a process counts within one minute; more are not told apart.
MOST_ADDRESSES: Final = 50_000
_OVERFLOW: Final = "others"


@dataclass(frozen=True, slots=True)
class Rate:
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


class Limiter:
    """Counts requests. Exchanging and ``creating`` raise ``RedisError`` when the store is away."""

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
        self._counts: dict[str, _Count] = {}
        self._next_exchange = 0.0

    def any_request(self, address: str) -> Rate:
        """Count a request of any kind, without I/O."""
        now = self._clock()
        self._begin_minute(now)
        address = network(address)
        if address not in self._counts and len(self._counts) >= MOST_ADDRESSES:
            address = _OVERFLOW
        count = self._counts.setdefault(address, _Count())
        count.total += 1
        count.untold += 1
        return _rate(self._rest_ip, count.total, now)

    def exchange(self) -> None:
        """Tell the other processes of this one's hits and learn of theirs, once a second."""
        now = self._clock()
        self._begin_minute(now)
        if now < self._next_exchange:
            return
        self._next_exchange = now + EXCHANGE_EVERY
        told = [(address, count, count.untold) for address, count in self._counts.items()]
        told = [entry for entry in told if entry[2]]
        with self._client.pipeline(transaction=False) as pipe:
            for address, _, hits in told:
                key = self._key("rest", address)
                pipe.incrby(key, hits)
                pipe.expire(key, WINDOW * 2)
            totals = pipe.execute()[::2]
        for (_, count, hits), total in zip(told, totals, strict=True):
            count.untold -= hits
            count.total = int(total) + count.untold

    def creating(self, user: str, address: str) -> Rate:
        """Count a new job against the user and the address; the tighter of the two."""
        now = self._clock()
        self._begin_minute(now)
        by_user = self._key("user", user)
        by_address = self._key("address", network(address))
        with self._client.pipeline(transaction=False) as pipe:
            for key in (by_user, by_address):
                pipe.incr(key)
                pipe.expire(key, WINDOW * 2)
            users, _, addresses, _ = pipe.execute()
        return min(
            _rate(self._create_user, users, now),
            _rate(self._create_ip, addresses, now),
            key=lambda rate: rate.remaining,
        )

    def _begin_minute(self, now: float) -> None:
        minute = int(now // WINDOW)
        if minute != self._minute:
            self._minute = minute
            self._counts = {}

    def _key(self, kind: str, who: str) -> str:
        return f"limit:{kind}:{who}:{self._minute}"


def refuse_excess(rate: Rate) -> None:
    """Raises ``RateLimited`` when nothing is left."""
    if rate.remaining < 0:
        raise RateLimited(retry_after=rate.reset)


def _rate(limit: int, hits: int, now: float) -> Rate:
    return Rate(limit, limit - hits, max(1, math.ceil(WINDOW - now % WINDOW)))


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
