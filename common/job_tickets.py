"""Tickets for URLs that browsers open: a link, an EventSource or a WebSocket cannot send an
Authorization header, so its URL contains a ticket instead."""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Final

from itsdangerous import BadData, Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode, int_to_bytes
from itsdangerous.signer import SigningAlgorithm

#: Seconds. Long enough for a job with all its retries: clients reconnect to the same URL.
TICKET_TTL: Final = 3_600


class JobTickets:
    """Issues and verifies tickets. A ticket grants permission to watch and download one job."""

    def __init__(self, secret: str, *, ttl: int = TICKET_TTL) -> None:
        """``ttl``: how long a ticket is valid, in seconds."""
        # Derived only once, because deriving it for each ticket would be slow.
        key = Signer(secret, salt="longhaul.live").derive_key()
        self._signer = TimestampSigner(key, key_derivation="none", algorithm=_Hmac())
        self._ttl = ttl

    def issue(self, job_id: str, user: str) -> str:
        """Return a ticket with which ``user`` may watch and download the job."""
        # The same as the signer's ``sign``, which encodes user and time again for every ticket.
        ticket = f"{_encoded(user)}.{_encoded_time(self._signer.get_timestamp())}"
        signature = self._signer.get_signature(f"{job_id}.{ticket}")
        # The URL contains the job ID anyway.
        return f"{ticket}.{signature.decode()}"

    def holder(self, ticket: str, job_id: str) -> str | None:
        """Return the user of a ticket, or None if it is not valid for this job."""
        try:
            signed = self._signer.unsign(f"{job_id}.{ticket}", max_age=self._ttl)
            return base64_decode(signed[len(job_id) + 1 :]).decode()
        except (BadData, ValueError):
            return None


class _Hmac(SigningAlgorithm):
    """The library's default algorithm. Copying an HMAC takes half of the time of a new one."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        signature = _hmac(key).copy()
        signature.update(value)
        return signature.digest()


@lru_cache(maxsize=4096)
def _encoded(user: str) -> str:
    return base64_encode(user).decode()


@lru_cache(maxsize=4)
def _encoded_time(seconds: int) -> str:
    return base64_encode(int_to_bytes(seconds)).decode()


@lru_cache(maxsize=4)
def _hmac(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha1")
