"""What live updates refuse."""

from __future__ import annotations

from common.errors import BackendUnavailable, RateLimited


class TooManyStreams(RateLimited):
    """You have as many live streams as are allowed."""

    code = "TOO_MANY_STREAMS"


class ServerFull(BackendUnavailable):
    """This server carries as many live streams as it can."""
