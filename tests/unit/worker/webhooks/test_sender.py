"""What a receiver's answer means for a webhook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from common.job_store.webhook_deliveries import DeliveryAttempt
from worker.webhooks.http_poster import WebhookResponse
from worker.webhooks.sender import PAUSES, judge


def attempt(number: int) -> DeliveryAttempt:
    return DeliveryAttempt(attempt=number, at=0, duration_ms=0)


def test_ten_attempts_are_spread_over_three_days() -> None:
    verdicts = [judge(WebhookResponse(status=500), attempt(number)) for number in range(1, 11)]
    assert [verdict.state for verdict in verdicts] == ["pending"] * 9 + ["failed"]
    assert 2.9 * 86_400 < sum(verdict.delay for verdict in verdicts) <= 3 * 86_400
    assert list(PAUSES) == sorted(PAUSES)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_any_2xx_is_a_delivery(status: int) -> None:
    assert judge(WebhookResponse(status=status), attempt(10)).state == "delivered"


def test_410_ends_the_delivery_at_once() -> None:
    assert judge(WebhookResponse(status=410), attempt(1)).state == "gone"


@pytest.mark.parametrize(
    "answer",
    [WebhookResponse(status=302), WebhookResponse(status=400), WebhookResponse(error="tls")],
)
def test_everything_else_is_tried_again(answer: WebhookResponse) -> None:
    assert judge(answer, attempt(1)).state == "pending"


def delay(retry_after: str, status: int = 503) -> float:
    return judge(WebhookResponse(status=status, retry_after=retry_after), attempt(1)).delay


def test_retry_after_lengthens_a_pause_but_never_shortens_it() -> None:
    assert delay("120") == 120
    assert delay("120", status=429) == 120
    assert delay("1") == delay("") == PAUSES[0]
    later = datetime.now(UTC) + timedelta(seconds=600)
    assert 595 < delay(format_datetime(later, usegmt=True)) <= 600


def test_retry_after_beyond_a_day_and_nonsense_have_no_effect_of_their_own() -> None:
    assert delay("99999999999999") == 86_400
    assert delay("soon") == delay("-5") == delay("²") == PAUSES[0]
    assert delay("120", status=500) == PAUSES[0]
