"""A paused queue: jobs are accepted and wait, those at work go on, none is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.job_store import keys

if TYPE_CHECKING:
    from redis import Redis


class Pause:
    """The switch. Raises ``redis.exceptions.RedisError`` when the store is away."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        # Every claim looks at the flag of its own partition, so that it stays one atomic script.
        self._flags = [keys.of_partition("paused", tag) for tag in keys.all_tags()]

    def pause(self) -> None:
        """From now on no job is begun; pausing twice is no error."""
        with self._client.pipeline(transaction=False) as pipe:
            for flag in self._flags:
                pipe.set(flag, "1")
            pipe.execute()

    def resume(self) -> None:
        """Jobs are begun again; wake-ups that came to nothing are sent again by the sweeper."""
        with self._client.pipeline(transaction=False) as pipe:
            for flag in self._flags:
                pipe.delete(flag)
            pipe.execute()

    def paused(self) -> bool:
        """Whether any partition is paused."""
        with self._client.pipeline(transaction=False) as pipe:
            for flag in self._flags:
                pipe.exists(flag)
            return any(pipe.execute())
