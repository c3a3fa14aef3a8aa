"""Tickets: a browser's EventSource and WebSocket cannot send headers, so their URL proves the right
to watch one job."""

from __future__ import annotations

from typing import Final

from itsdangerous import BadData, URLSafeTimedSerializer

#: Seconds: a job's life with all its retries, since a client that comes back uses the same URL.
TICKET_TTL: Final = 3_600


class Tickets:
    """Makes and reads tickets. One is good for one job and for nothing but watching it."""

    def __init__(self, secret: str, *, ttl: int = TICKET_TTL) -> None:
        """``ttl``: seconds that a ticket is good for."""
        self._serializer = URLSafeTimedSerializer(secret, salt="longhaul.live")
        self._ttl = ttl

    def issue(self, job_id: str, user: str) -> str:
        """A ticket for ``user`` to watch the job."""
        return str(self._serializer.dumps([job_id, user]))

    def holder(self, ticket: str, job_id: str) -> str | None:
        """The user to whom it was issued; None when it is not good (any more) for this job."""
        try:
            issued_for, user = self._serializer.loads(ticket, max_age=self._ttl)
        except (BadData, ValueError):
            return None
        return str(user) if issued_for == job_id else None
