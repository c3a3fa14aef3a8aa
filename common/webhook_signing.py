"""Signs HTTP requests as Standard Webhooks describes (standardwebhooks.com, "Signature scheme")."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from standardwebhooks import Webhook

_PREFIX: Final = "whsec_"
#: Separates what is derived here from any other use of the same secret.
_PURPOSE: Final = "longhaul webhook secret"


def signers(secrets: str) -> list[Webhook]:
    """Return one signer for each of the secrets, which are separated by spaces.

    Raises ``ValueError`` if one is not ``whsec_`` and base64.
    """
    return [Webhook(key) for key in _keys(secrets)]


class WebhookKeys:
    """Derives a secret for each user and generation, so that none of them has to be stored.

    Receivers that know their own secret can compute neither another one nor the master secret.
    """

    def __init__(self, master: str) -> None:
        """``master``: the operator's secret, or several, separated by spaces, the new one first.

        Raises ``ValueError`` if one is not ``whsec_`` and base64.
        """
        self._masters = _keys(master)

    def secret(self, user: str, generation: int) -> str | None:
        """Return the user's secret as ``whsec_…``; None if there is no master secret."""
        if not self._masters:
            return None
        key = _derived(self._masters[0], user, generation)
        return _PREFIX + base64.b64encode(key).decode()

    def signers(self, user: str, generations: Sequence[int]) -> list[Webhook]:
        """Return the signers of a webhook: the user's secrets, then the master secrets."""
        derived = [
            _derived(master, user, generation)
            for generation in generations
            for master in self._masters
        ]
        return [Webhook(key) for key in (*derived, *self._masters)]


def _keys(secrets: str) -> list[bytes]:
    return [_key(secret) for secret in secrets.split()]


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(_PREFIX).rstrip("=")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if not key:
        raise ValueError("The secret is empty")
    return key


def _derived(master: bytes, user: str, generation: int) -> bytes:
    # The user comes last: it is the only part that may contain any character.
    message = f"{_PURPOSE}\n{generation}\n{user}"
    return hmac.digest(master, message.encode(), hashlib.sha256)
