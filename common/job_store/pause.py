"""Pausing the queue: jobs are accepted and wait, running ones continue, none is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis


class Pause:
    """Pauses and resumes the queue. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        # One flag per partition: a claim reads only keys of its own partition.
        self._flags = [keys.of_partition("paused", tag) for tag in keys.all_tags()]

    def pause(self) -> None:
        """Start no more jobs. Idempotent."""
        with self._client.pipeline(transaction=False) as pipe:
            for flag in self._flags:
                pipe.set(flag, "1")
            pipe.execute()

    def resume(self) -> None:
        """Start jobs again. The sweeper repeats the wake-ups that were rejected meanwhile."""
        with self._client.pipeline(transaction=False) as pipe:
            for flag in self._flags:
                pipe.delete(flag)
            pipe.execute()

    def paused(self) -> bool:
        """Return whether any partition is paused."""
        with self._client.pipeline(transaction=False) as pipe:
            for flag in self._flags:
                pipe.exists(flag)
            return any(pipe.execute())
