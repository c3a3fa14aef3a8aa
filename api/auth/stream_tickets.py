"""Tickets: a browser's EventSource and WebSocket cannot send headers, so their URL proves the right
to watch one job."""

from __future__ import annotations

import hmac
from typing import Final

from itsdangerous import BadData, Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.signer import SigningAlgorithm

#: Seconds: a job's life with all its retries, since a client that comes back uses the same URL.
TICKET_TTL: Final = 3_600


class StreamTickets:
    """Makes and reads tickets. One is good for one job and for nothing but watching it."""

    def __init__(self, secret: str, *, ttl: int = TICKET_TTL) -> None:
        """``ttl``: seconds that a ticket is good for."""
        # The key is derived here, once, and not for each ticket.
        key = Signer(secret, salt="longhaul.live").derive_key()
        self._signer = TimestampSigner(key, key_derivation="none", algorithm=_Hmac())
        self._ttl = ttl

    def issue(self, job_id: str, user: str) -> str:
        """A ticket for ``user`` to watch the job."""
        signed = self._signer.sign(f"{job_id}.{base64_encode(user).decode()}").decode()
        # Whoever shows it names the job too.
        return signed[len(job_id) + 1 :]

    def holder(self, ticket: str, job_id: str) -> str | None:
        """The user to whom it was issued; None when it is not good (any more) for this job."""
        try:
            signed = self._signer.unsign(f"{job_id}.{ticket}", max_age=self._ttl)
            return base64_decode(signed[len(job_id) + 1 :]).decode()
        except (BadData, ValueError):
            return None


class _Hmac(SigningAlgorithm):
    """The library's own algorithm by one call into OpenSSL: half of a ticket's time."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha1")
