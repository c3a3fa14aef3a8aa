"""Secrets that are derived for each user, and the signatures of a webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from common.webhook_signing import WebhookKeys

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def headers(keys: WebhookKeys, user: str, generations: list[int]) -> dict[str, str]:
    at = datetime.now(UTC)
    signatures = [signer.sign("msg_1", at, "{}") for signer in keys.signers(user, generations)]
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def verifies(secret: str | None, sent: dict[str, str]) -> bool:
    try:
        Webhook(secret or "").verify("{}", sent)
    except WebhookVerificationError:
        return False
    return True


def test_a_secret_is_an_hmac_of_the_generation_and_the_user() -> None:
    # RFC 2104 with SHA-256; the format is that of Standard Webhooks.
    master = base64.b64decode(NEW.removeprefix("whsec_"))
    key = hmac.new(master, b"longhaul webhook secret\n3\nalice", hashlib.sha256).digest()
    assert WebhookKeys(NEW).secret("alice", 3) == f"whsec_{base64.b64encode(key).decode()}"


def test_users_and_generations_have_different_secrets() -> None:
    keys = WebhookKeys(NEW)
    secrets = {keys.secret(user, number) for user in ("a", "b", "1\na", "") for number in (1, 2)}
    assert len(secrets) == 8
    assert NEW not in secrets


def test_a_receiver_verifies_its_own_webhooks_only() -> None:
    keys = WebhookKeys(NEW)
    sent = headers(keys, "alice", [1])
    assert verifies(keys.secret("alice", 1), sent)
    assert not verifies(keys.secret("bob", 1), sent)
    assert not verifies(keys.secret("alice", 2), sent)


def test_the_master_secrets_sign_too_for_receivers_that_still_have_them() -> None:
    sent = headers(WebhookKeys(f"{NEW} {OLD}"), "alice", [1])
    assert verifies(NEW, sent)
    assert verifies(OLD, sent)


def test_during_a_rotation_all_valid_secrets_sign() -> None:
    keys, before = WebhookKeys(f"{NEW} {OLD}"), WebhookKeys(OLD)
    sent = headers(keys, "alice", [3, 2])
    for generation in (2, 3):
        assert verifies(keys.secret("alice", generation), sent)
        assert verifies(before.secret("alice", generation), sent)
    assert not verifies(keys.secret("alice", 1), sent)


def test_without_a_master_secret_there_is_no_secret() -> None:
    assert WebhookKeys("").secret("alice", 1) is None


def test_a_malformed_master_secret_is_rejected() -> None:
    with pytest.raises(ValueError):
        WebhookKeys("whsec_?")
