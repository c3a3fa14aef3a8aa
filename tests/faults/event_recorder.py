"""Records the events of all jobs, and finds missing versions."""

from __future__ import annotations

import threading
from typing import cast

import orjson
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry


class EventRecorder:
    """A subscriber to the events of all jobs.

    Events that are published while the connection is broken are lost. After each new connection
    any later version is correct; on one connection only the next is. A server that was killed may
    have lost its latest writes although it had published them (with ``appendfsync everysec``, while
    the disk is busy), so after its restart any version is correct.
    """

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        #: The server process that published the newest events.
        self._server = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: The number of events, and descriptions of those with a wrong version.
        self.events = 0
        self.gaps: list[str] = []
        #: The newest version of each job that had an event on the last connection.
        self.newest: dict[str, int] = {}
        self._thread.start()

    def close(self) -> None:
        if not self._thread.is_alive():
            self.gaps.append("the thread that records events has ended")
        self._stopped.set()
        self._thread.join(10)
        self._client.close()

    def _run(self) -> None:
        newest: dict[str, int] = {}
        while not self._stopped.is_set():
            try:
                self._listen(newest)
            except RedisError:
                self._stopped.wait(0.1)

    def _listen(self, newest: dict[str, int]) -> None:
        continuous: set[str] = set()
        self.newest = {}
        server = server_of(self._client)
        if server != self._server:
            newest.clear()
            self._server = server
        with self._client.pubsub(ignore_subscribe_messages=True) as events:
            events.psubscribe("job:events:*")
            while not self._stopped.is_set():
                if message := events.get_message(timeout=1):
                    job = orjson.loads(message["data"])
                    self._compare(newest, job["id"], int(job["version"]), job["id"] in continuous)
                    continuous.add(job["id"])
                    self.newest[job["id"]] = int(job["version"])

    def _compare(
        self, newest: dict[str, int], job_id: str, version: int, is_continuous: bool
    ) -> None:
        self.events += 1
        before = newest.get(job_id, 0)
        if version != before + 1 if is_continuous else version <= before:
            self.gaps.append(f"{job_id}: version {version} after {before}")
        newest[job_id] = version


def server_of(client: Redis) -> str:
    """Return the ID of the server's process, which changes when it restarts."""
    return str(cast("dict[str, str]", client.info("server"))["run_id"])
