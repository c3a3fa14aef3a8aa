"""Rate limits within a process and across processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from api.limits import rate_limits
from api.limits.rate_limits import RateLimiter, network


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
    return lambda: RateLimiter(redis, create_user=3, create_ip=5, requests_ip=10, clock=clock)


def create(limiter: RateLimiter, user: str, address: str) -> Any:
    creation = limiter.count_creation_by_address(address)
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
        one.count_creation_by_address("1.1.1.1")
    other.count_request("1.1.1.1")
    one.sync_counts()
    other.count_creation_by_address("1.1.1.1")
    other.sync_counts()
    rate = other.count_creation_by_address("1.1.1.1").rate
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
    monkeypatch.setattr(rate_limits, "MAX_ADDRESSES", 4)
    limiter = make_limiter()
    for number in range(50):
        limiter.count_request(f"1.1.1.{number}")
        assert len(limiter._counts["requests"]) <= 4


def test_new_addresses_have_a_limit_of_their_own_during_a_flood(
    make_limiter: Callable[[], RateLimiter],
) -> None:
    limiter = make_limiter()
    for number in range(60_000):
        limiter.count_request(f"2001:db8:{number:x}::1")
    for number in range(100):
        for used in range(1, 4):
            assert limiter.count_request(f"192.0.2.{number}").remaining == 10 - used


def test_address_that_keeps_sending_is_not_forgotten_during_a_flood(
    make_limiter: Callable[[], RateLimiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "MAX_ADDRESSES", 20)
    limiter = make_limiter()
    remaining = []
    for number in range(200):
        limiter.count_request(f"2001:db8:{number:x}::1")
        if number % 9 == 0:
            remaining.append(limiter.count_request("192.0.2.1").remaining)
    assert remaining == list(range(9, 9 - len(remaining), -1))


def test_one_exchange_shares_a_bounded_number_of_counts(
    make_limiter: Callable[[], RateLimiter],
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    monkeypatch.setattr(rate_limits, "MAX_SHARED", 3)
    limiter = make_limiter()
    for number in range(1, 8):
        for _ in range(number):
            limiter.count_request(f"192.0.2.{number}")
    limiter.sync_counts()
    shared = {key.split(":")[2] for key in redis.scan_iter("limit:requests:*")}
    assert shared == {"192.0.2.5", "192.0.2.6", "192.0.2.7"}
    clock.now += rate_limits.SYNC_INTERVAL
    limiter.sync_counts()
    assert redis.get(f"limit:requests:192.0.2.4:{limiter._minute}") == "4"


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9") == "2001:db8:1:2::"
    assert network("2001:db8:1:3::1") != network("2001:db8:1:2::1")
    assert network("192.0.2.7") == "192.0.2.7"
    assert network("unknown") == "unknown"
    assert network("fe80::1%eth0") == network("fe80::2%eth1") == "fe80::"


@pytest.mark.parametrize(
    "address", ["::ffff:192.0.2.7", "::FFFF:c000:207", "64:ff9b::192.0.2.7", "64:ff9b::c000:207"]
)
def test_an_ipv4_address_counts_as_itself_when_it_is_written_as_ipv6(address: str) -> None:
    """RFC 4291, 2.5.5.2, and RFC 6052, 2.1: otherwise all of IPv4 would be one /64 network."""
    assert network(address) == "192.0.2.7"
    assert network("::ffff:192.0.2.8") == "192.0.2.8"
