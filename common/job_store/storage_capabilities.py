"""What the object storage supports, as workers found out when they started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import orjson

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis


class StorageCapabilities:
    """The capabilities that the worker that started last found. Raises ``RedisError``."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def publish(self, capabilities: Mapping[str, bool]) -> None:
        self._client.set(keys.STORAGE_CAPABILITIES, orjson.dumps(capabilities))

    def read(self) -> dict[str, bool] | None:
        """Return whether each capability is there, by name; None before any worker started."""
        text = cast("str | None", self._client.get(keys.STORAGE_CAPABILITIES))
        return None if text is None else cast("dict[str, bool]", orjson.loads(text))
