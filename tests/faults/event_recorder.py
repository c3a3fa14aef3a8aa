"""Hears every event of every job, and whether a version is missing."""

from __future__ import annotations

import threading

import orjson
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry


class Witness:
    """Listens from its start to its end.

    What is published while the store is down, or the line to it, is nobody's to hear: after each
    new connection any later version will do, within one connection only the next.
    """

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen_for_ever, daemon=True)
        self._thread.start()
        #: What was heard, and what was not as it has to be.
        self.heard = 0
        self.gaps: list[str] = []

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)
        self._client.close()

    def _listen_for_ever(self) -> None:
        newest: dict[str, int] = {}
        while not self._ended.is_set():
            try:
                self._listen(newest)
            except RedisError:
                self._ended.wait(0.1)

    def _listen(self, newest: dict[str, int]) -> None:
        continuous: set[str] = set()
        with self._client.pubsub(ignore_subscribe_messages=True) as events:
            events.psubscribe("job:events:*")
            while not self._ended.is_set():
                if message := events.get_message(timeout=1):
                    job = orjson.loads(message["data"])
                    self._compare(newest, job["id"], int(job["version"]), job["id"] in continuous)
                    continuous.add(job["id"])

    def _compare(
        self, newest: dict[str, int], job_id: str, version: int, is_continuous: bool
    ) -> None:
        self.heard += 1
        before = newest.get(job_id, 0)
        if version != before + 1 if is_continuous else version <= before:
            self.gaps.append(f"{job_id}: version {version} after {before}")
        newest[job_id] = version
