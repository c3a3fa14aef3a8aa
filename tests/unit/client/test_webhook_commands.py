"""``longhaul webhooks``: the secret, the list, and replays."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.support.client_fakes import JOB_ID
from tests.unit.client.test_operator_commands import Run, longhaul, requests

__all__ = ["longhaul", "requests"]

SECRET = {
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "generation": 2,
    "rotatedAt": "2026-11-28T12:00:00.000Z",
    "earlierValidUntil": "2026-11-29T12:00:00.000Z",
}
OK = httpx.Response(200, json=SECRET)


def test_webhooks_secret_prints_the_secret(longhaul: Run) -> None:
    responses = {"GET /v1/webhooks/secret": [OK, OK]}
    assert longhaul("webhooks", "secret", responses=responses).output == f"{SECRET['secret']}\n"
    as_json = longhaul("--json", "webhooks", "secret", responses=responses)
    assert json.loads(as_json.output) == SECRET


def test_webhooks_rotate_sends_the_overlap(longhaul: Run, requests: list[httpx.Request]) -> None:
    responses = {"POST /v1/webhooks/secret/rotate": [OK, OK]}
    result = longhaul("webhooks", "rotate", "--overlap", "0", responses=responses)
    assert (result.exit_code, result.output) == (0, f"{SECRET['secret']}\n")
    longhaul("webhooks", "rotate", responses=responses)
    assert [json.loads(request.content) for request in requests] == [{"overlap": 0}, {}]


def test_webhooks_list_shows_the_latest_result(longhaul: Run) -> None:
    attempts = [{"status": 500, "error": None}, {"status": None, "error": "timeout"}]
    delivery = {"webhookId": "msg_1", "type": "download.failed", "state": "pending"}
    deliveries = [{**delivery, "attempts": attempts}, {**delivery, "attempts": []}]
    path = f"GET /v1/download/{JOB_ID}/deliveries"
    result = longhaul(
        "webhooks", "list", JOB_ID,
        responses={path: [httpx.Response(200, json={"deliveries": deliveries})]},
    )  # fmt: skip
    first, second = result.output.splitlines()
    assert first.split() == ["msg_1", "download.failed", "pending", "timeout"]
    assert second.split() == ["msg_1", "download.failed", "pending"]


def test_webhooks_replay_sends_one_again(longhaul: Run) -> None:
    path = f"POST /v1/download/{JOB_ID}/deliveries/msg_1/replay"
    result = longhaul(
        "webhooks", "replay", JOB_ID, "msg_1", responses={path: [httpx.Response(202, json={})]}
    )
    assert (result.exit_code, result.output) == (0, "1 webhook will be sent again.\n")


def test_webhooks_replay_follows_the_pages_since_a_time(
    longhaul: Run, requests: list[httpx.Request]
) -> None:
    pages = [
        httpx.Response(202, json={"replayed": 500, "nextSince": "2026-11-28T13:00:00.000Z"}),
        httpx.Response(202, json={"replayed": 3, "nextSince": None}),
    ]
    result = longhaul(
        "webhooks", "replay", "--since", "2026-11-28", "--failed",
        responses={"POST /v1/webhooks/replay": pages},
    )  # fmt: skip
    assert result.output == "503 webhooks will be sent again.\n"
    assert [json.loads(request.content) for request in requests] == [
        {"since": "2026-11-28T00:00:00+00:00", "state": "failed"},
        {"since": "2026-11-28T13:00:00.000Z", "state": "failed"},
    ]


@pytest.mark.parametrize(
    "words", [(), (JOB_ID,), (JOB_ID, "msg_1", "--since", "2026-11-28"), (JOB_ID, "m", "--failed")]
)
def test_webhooks_replay_needs_one_or_a_time(longhaul: Run, words: tuple[str, ...]) -> None:
    assert longhaul("webhooks", "replay", *words, responses={}).exit_code == 2
