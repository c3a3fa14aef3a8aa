"""``Retry-After`` as other servers send it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.http_headers import MAX_RETRY_AFTER, parse_retry_after

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def parse(value: str | None) -> float | None:
    return parse_retry_after(value, NOW.timestamp())


def http_date(seconds_from_now: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds_from_now), usegmt=True)


@pytest.mark.parametrize(("value", "seconds"), [("0", 0), ("7", 7), (" 120 ", 120)])
def test_seconds_are_returned_as_they_are(value: str, seconds: float) -> None:
    assert parse(value) == seconds


def test_a_date_is_converted_to_the_seconds_until_then() -> None:
    assert parse(http_date(600)) == 600


def test_a_date_without_a_time_zone_is_utc() -> None:
    assert parse("Sat, 28 Nov 2026 12:00:30 -0000") == 30


def test_a_date_in_the_past_means_no_wait() -> None:
    assert parse(http_date(-600)) == 0


@pytest.mark.parametrize("value", ["99999999999999", "9" * 5_000, http_date(10 * 86_400)])
def test_a_wait_is_limited_to_one_day(value: str) -> None:
    assert parse(value) == MAX_RETRY_AFTER


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "²", "٣", "Sat, 99 Nov 2026"])
def test_missing_and_malformed_values_are_ignored(value: str | None) -> None:
    assert parse(value) is None


@given(st.text())
def test_no_value_raises(value: str) -> None:
    seconds = parse(value)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER
