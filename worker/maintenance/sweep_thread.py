"""The thread that looks for lost jobs and due retries, in every worker process."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.job_store.cluster import uptime
from common.job_store.state_log import trim
from worker import metrics

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.sweeper import Sweeper
    from common.job_store.worker_registry import WorkerRegistry
    from common.wake_ups import Dispatcher

#: An answer that took so long means that nobody could renew a lease meanwhile, seconds.
HUNG: Final = 2.0
#: Seconds between looks at what every reader of the state log has done with.
TRIM_EVERY: Final = 60.0

log = structlog.get_logger(__name__)


class SweepThread:
    """Sweeps about every ``interval`` seconds."""

    def __init__(
        self,
        sweeper: Sweeper,
        *,
        client: Redis,
        dispatcher: Dispatcher,
        workers: WorkerRegistry,
        interval: float,
        lease: float,
    ) -> None:
        """``lease``: how long leases are believed after the store was away, seconds."""
        self._sweeper = sweeper
        self._client = client
        self._dispatcher = dispatcher
        self._workers = workers
        self._interval = interval
        self._lease = lease
        self._believe_until = 0.0
        self._trim_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sweep_for_ever, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _sweep_for_ever(self) -> None:
        # Spread out, so that many workers do not all sweep in the same instant.
        while not self._ended.wait(self._interval * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                self._sweep()
            except RedisError as error:
                # While the store is away nobody can renew a lease; that says nothing of workers.
                self._believe_until = time.monotonic() + self._lease
                log.warning("sweep failed", error=str(error))

    def _sweep(self) -> None:
        reclaim = not self._store_was_away()
        dead = self._workers.dead() if reclaim else []
        swept = self._sweeper.sweep(self._dispatcher.waiting, dead=dead, reclaim=reclaim)
        metrics.sweep_finished(swept)
        if swept.recovered or swept.failed or swept.resent:
            log.warning("jobs recovered", dead_workers=dead, **vars(swept))
        self._trim_journal()

    def _trim_journal(self) -> None:
        if time.monotonic() >= self._trim_at:
            self._trim_at = time.monotonic() + TRIM_EVERY * random.uniform(0.5, 1.5)  # noqa: S311
            trim(self._client)

    def _store_was_away(self) -> bool:
        asked_at = time.monotonic()
        just_started = uptime(self._client) <= self._lease
        if time.monotonic() - asked_at > HUNG:
            self._believe_until = time.monotonic() + self._lease
        return just_started or time.monotonic() < self._believe_until
