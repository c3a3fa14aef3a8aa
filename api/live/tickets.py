"""Tickets: a browser's EventSource and WebSocket cannot send headers, so their URL proves the right
to watch one job."""

from __future__ import annotations

import hmac
from typing import Final

from itsdangerous import BadData, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.signer import SigningAlgorithm

#: Seconds: a job's life with all its retries, since a client that comes back uses the same URL.
TICKET_TTL: Final = 3_600


class Tickets:
    """Makes and reads tickets. One is good for one job and for nothing but watching it."""

    def __init__(self, secret: str, *, ttl: int = TICKET_TTL) -> None:
        """``ttl``: seconds that a ticket is good for."""
        self._secret = secret
        self._ttl = ttl

    def issue(self, job_id: str, user: str) -> str:
        """A ticket for ``user`` to watch the job."""
        return self._signer(job_id).sign(base64_encode(user)).decode()

    def holder(self, ticket: str, job_id: str) -> str | None:
        """The user to whom it was issued; None when it is not good (any more) for this job."""
        try:
            user = self._signer(job_id).unsign(ticket, max_age=self._ttl)
            return base64_decode(user).decode()
        except (BadData, ValueError):
            return None

    def _signer(self, job_id: str) -> TimestampSigner:
        salt = f"longhaul.live.{job_id}"
        return TimestampSigner(self._secret, salt=salt, algorithm=_ONE_CALL)


class _Hmac(SigningAlgorithm):
    """The library's own algorithm by one call into OpenSSL: half of a ticket's time."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha1")


_ONE_CALL: Final = _Hmac()
