"""Generations of webhook secrets: rotation with an overlap."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from common.job_store import keys
from common.job_store.webhook_secrets import MAX_EARLIER, WebhookSecrets

DAY = 86_400.0


@pytest.fixture
def secrets(redis: Redis) -> WebhookSecrets:
    return WebhookSecrets(redis)


def now() -> int:
    return time.time_ns() // 1_000_000


def test_a_secret_that_was_never_rotated_has_the_first_generation(secrets: WebhookSecrets) -> None:
    generations = secrets.of_user("alice")
    assert generations.valid_at(now()) == [1]
    assert (generations.rotated_at, generations.earlier_until(now())) == (None, None)


def test_after_a_rotation_both_generations_sign_until_the_overlap_ends(
    secrets: WebhookSecrets,
) -> None:
    rotated = secrets.rotate("alice", overlap=DAY)
    assert secrets.of_user("alice") == rotated
    assert rotated.valid_at(now()) == [2, 1]
    assert rotated.earlier_until(now()) == pytest.approx(now() + DAY * 1000, abs=60_000)
    assert rotated.valid_at(now() + round(DAY * 1000) + 60_000) == [2]
    assert secrets.of_user("bob").valid_at(now()) == [1]


def test_a_rotation_without_overlap_ends_all_earlier_generations(secrets: WebhookSecrets) -> None:
    secrets.rotate("alice", overlap=DAY)
    assert secrets.rotate("alice", overlap=0).valid_at(now()) == [3]


def test_a_second_rotation_does_not_extend_an_earlier_generation(secrets: WebhookSecrets) -> None:
    first = secrets.rotate("alice", overlap=DAY)
    second = secrets.rotate("alice", overlap=30 * DAY)
    assert second.valid_at(now()) == [3, 2, 1]
    assert second.earlier[1] == first.earlier[1]
    assert second.earlier[2] > first.earlier[1]


def test_only_some_earlier_generations_sign(secrets: WebhookSecrets) -> None:
    for _ in range(9):
        generations = secrets.rotate("alice", overlap=DAY)
    assert generations.valid_at(now()) == [10, 9, 8, 7]
    assert len(generations.earlier) == MAX_EARLIER


def test_a_repeated_command_rotates_once(
    secrets: WebhookSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client library sends a command again when it misses the response.
    monkeypatch.setattr("common.job_store.webhook_secrets.secrets.token_hex", lambda _: "same")
    assert secrets.rotate("alice", overlap=DAY) == secrets.rotate("alice", overlap=DAY)


def test_expired_generations_are_deleted(secrets: WebhookSecrets, redis: Redis) -> None:
    secrets.rotate("alice", overlap=DAY)
    redis.hset(keys.webhook_secret("alice"), "until:1", str(now() - 1))
    secrets.rotate("alice", overlap=DAY)
    stored: Any = redis.hgetall(keys.webhook_secret("alice"))
    assert set(stored) == {"generation", "rotated_at", "rotation", "until:2"}
