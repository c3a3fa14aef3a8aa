"""Expiries that survive a change of the server's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import Redis


def limit_expiry(client: Redis, key: str, seconds: float) -> None:
    """Make a key that expires later than ``seconds`` from now expire then.

    Call this with the longest expiry that the key is ever given, where others wait for it to
    expire. The server stores expiries as times of its clock: when the clock is set back by an hour,
    a lock of 15 seconds would be held for an hour. Raises ``RedisError``.
    """
    client.pexpire(key, round(seconds * 1000), lt=True)
