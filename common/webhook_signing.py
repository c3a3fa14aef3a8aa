"""Signs HTTP requests as Standard Webhooks describes (standardwebhooks.com, "Signature scheme")."""

from __future__ import annotations

import base64
from typing import Final

from standardwebhooks import Webhook

_PREFIX: Final = "whsec_"


def signers(secrets: str) -> list[Webhook]:
    """Return one signer for each of the secrets, which are separated by spaces.

    Raises ``ValueError`` if one is not ``whsec_`` and base64.
    """
    return [Webhook(_key(secret)) for secret in secrets.split()]


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(_PREFIX).rstrip("=")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if not key:
        raise ValueError("The secret is empty")
    return key
