"""Which generation of each user's webhook secret is current, and which earlier ones still sign.

The secrets themselves are not stored: ``common/webhook_signing.py`` derives them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from common.job_store import keys
from common.job_store.records import milliseconds
from common.job_store.scripts import Scripts

if TYPE_CHECKING:
    from redis import Redis

#: Earlier generations that sign at the same time, so that the header stays short.
MAX_EARLIER: Final = 3
_UNTIL: Final = "until:"


@dataclass(frozen=True, kw_only=True)
class SecretGenerations:
    """The generations of one user's secret. Times are milliseconds since 1970."""

    #: 1 until the first rotation.
    current: int = 1
    rotated_at: int | None = None
    #: Earlier generation -> until when it signs, too.
    earlier: Mapping[int, int]

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self:
        """Return the generations in the store's flat strings; none: never rotated."""
        rotated_at = fields.get("rotated_at")
        return cls(
            current=int(fields.get("generation", "1")),
            rotated_at=int(rotated_at) if rotated_at else None,
            earlier={
                int(name.removeprefix(_UNTIL)): int(value)
                for name, value in fields.items()
                if name.startswith(_UNTIL)
            },
        )

    def valid_at(self, now: int) -> list[int]:
        """Return the generations that sign at this time, the newest first."""
        earlier = (number for number, until in self.earlier.items() if until > now)
        return [self.current, *sorted(earlier, reverse=True)]

    def earlier_until(self, now: int) -> int | None:
        """Return until when an earlier generation signs; None if none does any more."""
        return max((until for until in self.earlier.values() if until > now), default=None)


class WebhookSecrets:
    """The generations of all users. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._scripts = Scripts(client)

    def of_user(self, user: str) -> SecretGenerations:
        """Return the generations of the user's secret."""
        fields: Any = self._client.hgetall(keys.webhook_secret(user))
        return SecretGenerations.from_fields(fields)

    def rotate(self, user: str, *, overlap: float) -> SecretGenerations:
        """Start the next generation. Earlier ones sign, too, for ``overlap`` seconds at most."""
        args = {
            "user": user,
            "rotation": secrets.token_hex(8),
            "overlap": milliseconds(overlap),
            "max": MAX_EARLIER,
        }
        _, *flat = self._scripts.call("webhook_secret_rotate", keys.webhook_secret(user), args)
        return SecretGenerations.from_fields(dict(zip(flat[::2], flat[1::2], strict=True)))
