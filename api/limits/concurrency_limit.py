"""Limits for what is in progress at the same time: waiting requests, streams, checks of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from common.errors import LonghaulError


class Client(NamedTuple):
    """Who is counted."""

    user: str
    #: As ``rate_limits.network`` returns it.
    address: str


@dataclass(frozen=True, kw_only=True)
class ConcurrencyLimits:
    """How many there may be at the same time in one process."""

    total: int
    per_address: int
    per_user: int


class ConcurrencyLimit:
    """Counts what is in progress, in total, by address and by user."""

    def __init__(
        self,
        maximum: ConcurrencyLimits,
        *,
        full: Callable[[], LonghaulError],
        exceeded: Callable[[], LonghaulError],
    ) -> None:
        """``full`` and ``exceeded`` create what is raised if all, or one client, have too many."""
        self._maximum = maximum
        self._full = full
        self._exceeded = exceeded
        self._total = 0
        self._by_address: Counter[str] = Counter()
        self._by_user: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many are in progress."""
        return self._total

    def acquire(self, client: Client) -> None:
        """Count one more, until ``release``. Raise an error if that would exceed the maximum."""
        maximum = self._maximum
        if self._total >= maximum.total:
            raise self._full()
        if (
            self._by_address[client.address] >= maximum.per_address
            or self._by_user[client.user] >= maximum.per_user
        ):
            raise self._exceeded()
        self._total += 1
        self._by_address[client.address] += 1
        self._by_user[client.user] += 1

    def release(self, client: Client) -> None:
        """Count one less."""
        self._total -= 1
        for counter, key in (self._by_address, client.address), (self._by_user, client.user):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]

    @contextmanager
    def held(self, client: Client) -> Iterator[None]:
        """Count one more within the context. Raise as ``acquire``."""
        self.acquire(client)
        try:
            yield
        finally:
            self.release(client)
