"""What is in the archive bucket, as a worker measured it last."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

import orjson

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True, kw_only=True)
class BucketSize:
    """The objects of the archive bucket."""

    objects: int
    bytes: int
    #: False if there are more objects than one measurement reads.
    complete: bool


class MeasuredBucketSize:
    """The last measurement, shared by all processes. All methods raise ``RedisError``."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def publish(self, size: BucketSize) -> None:
        self._client.set(keys.BUCKET_SIZE, orjson.dumps(asdict(size)))

    def read(self) -> BucketSize | None:
        """Return the last measurement; None before the first one."""
        text = cast("str | None", self._client.get(keys.BUCKET_SIZE))
        if text is None:
            return None
        members = orjson.loads(text)
        return BucketSize(
            objects=members["objects"], bytes=members["bytes"], complete=members["complete"]
        )
