"""What the response of a receiver means for a webhook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from common.job_store.deliveries import DeliveryAttempt
from worker.deliverer import RETRY_DELAYS
from worker.webhooks.http_poster import WebhookResponse
from worker.webhooks.sender import outcome_of


def attempt(number: int) -> DeliveryAttempt:
    return DeliveryAttempt(attempt=number, at=0, duration_ms=0)


def test_ten_attempts_are_spread_over_three_days() -> None:
    outcomes = [outcome_of(WebhookResponse(status=500), attempt(number)) for number in range(1, 11)]
    assert [outcome.state for outcome in outcomes] == ["pending"] * 9 + ["failed"]
    assert 2.9 * 86_400 < sum(outcome.delay for outcome in outcomes) <= 3 * 86_400
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)


def test_a_replay_has_ten_attempts_again() -> None:
    outcomes = [
        outcome_of(WebhookResponse(status=500), attempt(number), replayed_after=10)
        for number in range(11, 21)
    ]
    assert [outcome.state for outcome in outcomes] == ["pending"] * 9 + ["failed"]
    assert [outcome.delay for outcome in outcomes[:9]] == list(RETRY_DELAYS)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_any_2xx_is_a_delivery(status: int) -> None:
    assert outcome_of(WebhookResponse(status=status), attempt(10)).state == "delivered"


def test_410_ends_the_delivery_immediately() -> None:
    assert outcome_of(WebhookResponse(status=410), attempt(1)).state == "gone"


@pytest.mark.parametrize(
    "response",
    [WebhookResponse(status=302), WebhookResponse(status=400), WebhookResponse(error="tls")],
)
def test_every_other_result_is_retried(response: WebhookResponse) -> None:
    assert outcome_of(response, attempt(1)).state == "pending"


def delay(retry_after: str, status: int = 503) -> float:
    return outcome_of(WebhookResponse(status=status, retry_after=retry_after), attempt(1)).delay


def test_retry_after_can_make_the_delay_longer_but_not_shorter() -> None:
    assert delay("120") == 120
    assert delay("120", status=429) == 120
    assert delay("1") == delay("") == RETRY_DELAYS[0]
    later = datetime.now(UTC) + timedelta(seconds=600)
    assert 595 < delay(format_datetime(later, usegmt=True)) <= 600


def test_retry_after_also_extends_the_first_pause_of_a_replay() -> None:
    response = WebhookResponse(status=503, retry_after="600")
    for number in (1, 9, 10):
        assert outcome_of(response, attempt(number)).replay_delay == 600
    assert outcome_of(WebhookResponse(status=500), attempt(9)).replay_delay == 5


def test_retry_after_is_limited_to_a_day_and_ignored_when_malformed() -> None:
    assert delay("99999999999999") == 86_400
    assert delay("soon") == delay("-5") == delay("²") == RETRY_DELAYS[0]
    assert delay("120", status=500) == RETRY_DELAYS[0]
