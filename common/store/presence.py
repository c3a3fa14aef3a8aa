"""Which workers are there, and how busy they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import orjson

from common.store import keys

if TYPE_CHECKING:
    from redis import Redis

#: A worker not heard of for so long is not shown any more, seconds.
FORGET_AFTER: Final = 15


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker process as it last described itself."""

    name: str
    slots: int
    running: int


class Presence:
    """Shows one worker to the others and to the operator."""

    def __init__(self, client: Redis, name: str, *, slots: int, running: Callable[[], int]) -> None:
        self._client = client
        self._name = name
        self._slots = slots
        self._running = running

    def beat(self) -> None:
        """Say that this worker lives. Raises ``redis.exceptions.RedisError``."""
        state = WorkerState(name=self._name, slots=self._slots, running=self._running())
        self._client.set(keys.worker(self._name), orjson.dumps(state), ex=FORGET_AFTER)
        self._client.sadd(keys.WORKERS, self._name)

    def leave(self) -> None:
        """This worker ends."""
        self._client.delete(keys.worker(self._name))
        self._client.srem(keys.WORKERS, self._name)


def workers(client: Redis) -> list[WorkerState]:
    """The workers that were heard of lately; the names of others are forgotten here."""
    names = sorted(cast("set[str]", client.smembers(keys.WORKERS)))
    if not names:
        return []
    found = cast("list[str | None]", client.mget([keys.worker(name) for name in names]))
    gone = [name for name, text in zip(names, found, strict=True) if text is None]
    if gone:
        client.srem(keys.WORKERS, *gone)
    return [WorkerState(**orjson.loads(text)) for text in found if text is not None]
