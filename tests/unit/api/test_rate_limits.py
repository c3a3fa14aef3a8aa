"""Rate limits within a process and across processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from api import rate_limits
from api.rate_limits import RateLimiter, network


class Clock:
    def __init__(self) -> None:
        self.now = 6_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_limiter(redis: Redis, clock: Clock) -> Callable[[], RateLimiter]:
    return lambda: RateLimiter(redis, create_user=3, create_ip=5, rest_ip=10, clock=clock)


def create(limiter: RateLimiter, user: str, address: str) -> Any:
    creation = limiter.count_creation(address)
    limiter.count_for_user(user, creation)
    return creation.rate


def test_counts_are_reset_every_minute(
    make_limiter: Callable[[], RateLimiter], clock: Clock
) -> None:
    limiter = make_limiter()
    for _ in range(4):
        create(limiter, "ann", "1.1.1.1")
    clock.now += 59
    assert create(limiter, "ann", "1.1.1.1").remaining < 0
    assert create(limiter, "ann", "1.1.1.1").reset == 1
    clock.now += 1
    assert create(limiter, "ann", "1.1.1.1").remaining == 2


def test_the_tighter_of_both_limits_is_reported(make_limiter: Callable[[], RateLimiter]) -> None:
    limiter = make_limiter()
    assert create(limiter, "ann", "1.1.1.1").limit == 3
    for user in ("b", "c", "d"):
        create(limiter, user, "1.1.1.1")
    rate = create(limiter, "e", "1.1.1.1")
    assert (rate.limit, rate.remaining) == (5, 0)


def test_processes_share_their_request_counts_within_a_second(
    make_limiter: Callable[[], RateLimiter], clock: Clock
) -> None:
    one, other = make_limiter(), make_limiter()
    for _ in range(4):
        one.count_request("1.1.1.1")
        other.count_request("1.1.1.1")
    one.sync_counts()
    other.sync_counts()
    assert other.count_request("1.1.1.1").remaining == 10 - 8 - 1
    clock.now += rate_limits.SYNC_INTERVAL
    assert one.count_request("1.1.1.1").remaining == 10 - 4 - 1
    one.sync_counts()
    assert one.count_request("1.1.1.1").remaining == 10 - 8 - 2


def test_processes_share_their_creation_counts_within_a_second(
    make_limiter: Callable[[], RateLimiter], clock: Clock
) -> None:
    one, other = make_limiter(), make_limiter()
    for _ in range(2):
        one.count_creation("1.1.1.1")
    other.count_request("1.1.1.1")
    one.sync_counts()
    other.count_creation("1.1.1.1")
    other.sync_counts()
    rate = other.count_creation("1.1.1.1").rate
    assert (rate.limit, rate.remaining) == (5, 5 - 2 - 1 - 1)


def test_no_request_is_shared_twice(make_limiter: Callable[[], RateLimiter], clock: Clock) -> None:
    limiter = make_limiter()
    limiter.count_request("1.1.1.1")
    for _ in range(3):
        limiter.sync_counts()
        clock.now += rate_limits.SYNC_INTERVAL
    assert limiter.count_request("1.1.1.1").remaining == 8


def test_counters_expire_in_the_job_store(
    make_limiter: Callable[[], RateLimiter], redis: Redis
) -> None:
    limiter = make_limiter()
    limiter.count_request("1.1.1.1")
    limiter.sync_counts()
    create(limiter, "ann", "1.1.1.1")
    counters = [*redis.scan_iter("limit:*"), *redis.scan_iter("user:rate:*")]
    assert len(counters) == 2
    assert all(0 < redis.ttl(key) <= 2 * rate_limits.WINDOW for key in counters)


def test_memory_is_bounded_when_many_addresses_send_requests(
    make_limiter: Callable[[], RateLimiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "MAX_ADDRESSES", 3)
    limiter = make_limiter()
    left = [limiter.count_request(f"1.1.1.{number}").remaining for number in range(6)]
    assert left == [9, 9, 9, 9, 8, 7]


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9") == "2001:db8:1:2::"
    assert network("2001:db8:1:3::1") != network("2001:db8:1:2::1")
    assert network("192.0.2.7") == "192.0.2.7"
    assert network("unknown") == "unknown"
