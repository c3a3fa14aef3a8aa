"""A user's share of requests for jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class CreationQuota:
    """How often a user may ask for jobs within a minute; ``hits`` tells how often it was done."""

    #: Minutes since 1970.
    minute: int
    most: int
    hits: int = 0
