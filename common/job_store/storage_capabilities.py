"""What workers found out about the object storage, for everybody to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import orjson

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis


class StorageCapabilities:
    """The capabilities that the worker which started last saw; both calls raise RedisError."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def publish(self, capabilities: Mapping[str, bool]) -> None:
        self._client.set(keys.STORAGE, orjson.dumps(capabilities))

    def read(self) -> dict[str, bool] | None:
        """Name to whether the storage can do it; None before any worker looked."""
        found = cast("str | None", self._client.get(keys.STORAGE))
        return None if found is None else cast("dict[str, bool]", orjson.loads(found))
