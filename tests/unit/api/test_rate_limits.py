"""Counting requests, alone and together with other processes."""

from __future__ import annotations

import pytest

from api import rate_limits
from api.rate_limits import Limiter, network


class Clock:
    def __init__(self) -> None:
        self.now = 6_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_limiter(redis, clock):
    return lambda: Limiter(redis, create_user=3, create_ip=5, rest_ip=10, clock=clock)


def create(limiter, user, address):
    creation = limiter.creating(address)
    limiter.count(user, creation)
    return creation.rate


def test_the_count_begins_anew_every_minute(make_limiter, clock):
    limiter = make_limiter()
    for _ in range(4):
        create(limiter, "ann", "1.1.1.1")
    clock.now += 59
    assert create(limiter, "ann", "1.1.1.1").remaining < 0
    assert create(limiter, "ann", "1.1.1.1").reset == 1
    clock.now += 1
    assert create(limiter, "ann", "1.1.1.1").remaining == 2


def test_the_tighter_of_both_limits_is_told(make_limiter):
    limiter = make_limiter()
    assert create(limiter, "ann", "1.1.1.1").limit == 3
    for user in ("b", "c", "d"):
        create(limiter, user, "1.1.1.1")
    rate = create(limiter, "e", "1.1.1.1")
    assert (rate.limit, rate.remaining) == (5, 0)


def test_processes_learn_of_each_others_requests_within_a_second(make_limiter, clock):
    one, other = make_limiter(), make_limiter()
    for _ in range(4):
        one.any_request("1.1.1.1")
        other.any_request("1.1.1.1")
    one.exchange()
    other.exchange()
    assert other.any_request("1.1.1.1").remaining == 10 - 8 - 1
    clock.now += rate_limits.EXCHANGE_EVERY
    assert one.any_request("1.1.1.1").remaining == 10 - 4 - 1
    one.exchange()
    assert one.any_request("1.1.1.1").remaining == 10 - 8 - 2


def test_processes_learn_of_each_others_new_jobs_within_a_second(make_limiter, clock):
    one, other = make_limiter(), make_limiter()
    for _ in range(2):
        one.creating("1.1.1.1")
    other.any_request("1.1.1.1")
    one.exchange()
    other.creating("1.1.1.1")
    other.exchange()
    rate = other.creating("1.1.1.1").rate
    assert (rate.limit, rate.remaining) == (5, 5 - 2 - 1 - 1)


def test_no_request_is_told_twice(make_limiter, clock):
    limiter = make_limiter()
    limiter.any_request("1.1.1.1")
    for _ in range(3):
        limiter.exchange()
        clock.now += rate_limits.EXCHANGE_EVERY
    assert limiter.any_request("1.1.1.1").remaining == 8


def test_counts_are_forgotten_by_the_store(make_limiter, redis):
    limiter = make_limiter()
    limiter.any_request("1.1.1.1")
    limiter.exchange()
    create(limiter, "ann", "1.1.1.1")
    counters = [*redis.scan_iter("limit:*"), *redis.scan_iter("user:rate:*")]
    assert len(counters) == 2
    assert all(0 < redis.ttl(key) <= 2 * rate_limits.WINDOW for key in counters)


def test_a_flood_of_addresses_costs_bounded_memory(make_limiter, monkeypatch):
    monkeypatch.setattr(rate_limits, "MOST_ADDRESSES", 3)
    limiter = make_limiter()
    left = [limiter.any_request(f"1.1.1.{number}").remaining for number in range(6)]
    assert left == [9, 9, 9, 9, 8, 7]


def test_all_addresses_of_an_ipv6_subscriber_count_as_one():
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9") == "2001:db8:1:2::"
    assert network("2001:db8:1:3::1") != network("2001:db8:1:2::1")
    assert network("192.0.2.7") == "192.0.2.7"
    assert network("unknown") == "unknown"
