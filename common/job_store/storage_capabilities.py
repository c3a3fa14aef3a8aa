"""What the object storage supports, as workers found out when they tested it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

import orjson

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis

#: Seconds for which workers use the result of another worker.
SHARED_FOR: Final = 3_600.0


class StorageCapabilities:
    """The result of the last test, shared by all workers. All methods raise ``RedisError``."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def publish(self, capabilities: Mapping[str, bool], *, storage_id: str = "") -> None:
        """Store whether the storage has each capability, by name."""
        record = {
            "storage_id": storage_id,
            "tested_at": time.time(),
            "capabilities": dict(capabilities),
        }
        self._client.set(keys.STORAGE_CAPABILITIES, orjson.dumps(record))

    def read(self) -> dict[str, bool] | None:
        """Return the capabilities for ``/health``; None before any worker started."""
        record = self._record()
        return None if record is None else cast("dict[str, bool]", record["capabilities"])

    def read_shared(self, storage_id: str) -> dict[str, bool] | None:
        """Return the capabilities if another worker has tested the same storage recently."""
        record = self._record()
        if record is None or record["storage_id"] != storage_id:
            return None
        if time.time() - cast("float", record["tested_at"]) > SHARED_FOR:
            return None
        return cast("dict[str, bool]", record["capabilities"])

    def _record(self) -> dict[str, object] | None:
        text = cast("str | None", self._client.get(keys.STORAGE_CAPABILITIES))
        if text is None:
            return None
        record = orjson.loads(text)
        if "capabilities" not in record:  # An earlier version stored only the capabilities.
            return {"storage_id": None, "tested_at": 0.0, "capabilities": record}
        return cast("dict[str, object]", record)
