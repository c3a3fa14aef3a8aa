"""The thread that recovers lost jobs and starts due retries. Every worker process has one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.cluster import Cluster, node_of, uptime
from common.job_store.errors import is_outage, log_errors, log_failure
from common.job_store.state_log import trim
from common.job_store.statistics_log import StatisticsLog
from worker import metrics
from worker.loop_thread import LoopThread
from worker.maintenance.stall_detector import StallDetector

if TYPE_CHECKING:
    from redis import Redis

    from common.clock import Clock
    from common.job_store.sweeper import Sweeper
    from common.job_store.worker_registry import WorkerRegistry
    from common.wake_ups import Dispatcher

#: Seconds that the job store may take to respond; after a slower response it may have stalled.
#: Less than the timeout of a worker's own connection: a stall that closes connections is noticed.
MAX_RESPONSE_TIME: Final = 1.0
#: Seconds between two removals of entries that every reader of the state log has processed.
TRIM_INTERVAL: Final = 60.0

log = structlog.get_logger(__name__)


class SweepThread(LoopThread):
    """Calls the sweeper about every ``interval`` seconds."""

    def __init__(
        self,
        sweeper: Sweeper,
        *,
        client: Redis,
        dispatcher: Dispatcher,
        workers: WorkerRegistry,
        interval: float,
        lease: float,
        on_round: Callable[[], object] = lambda: None,
        clock: Clock = time,
    ) -> None:
        """``lease``: seconds for which no lease expires after the job store was unavailable.
        ``on_round`` is called before every sweep.
        """
        super().__init__("sweeper")
        self._clock = clock
        self._sweeper = sweeper
        self._client = client
        self._dispatcher = dispatcher
        self._workers = workers
        self._interval = interval
        self._lease = lease
        #: Seconds for which leases are reliable after a response of the store: far less than a
        #: live lease has left.
        self._reliable_for = lease / 2
        self._max_gap = 1.2 * interval + MAX_RESPONSE_TIME
        self._stall_detector = StallDetector(
            max_gap=self._max_gap, grace=lease, clock=clock.monotonic
        )
        self.first_pause = self._pause()
        self._on_round = on_round
        self._trim_at = 0.0
        self._statistics_log = StatisticsLog(client, clock=clock.monotonic)

    def step(self) -> float:
        self._on_round()
        with log_errors(log, "sweep failed"):
            self._sweep()
        with log_errors(log, "state log not trimmed"):
            self._trim_state_log()
        with log_errors(log, "statistics not recorded"):
            self._statistics_log.record_if_due()
        return self._pause()

    def _pause(self) -> float:
        # With jitter, so that many workers do not all sweep at the same moment.
        return self._interval * random.uniform(0.8, 1.2)  # noqa: S311

    def _sweep(self) -> None:
        try:
            self._sweep_partitions()
        except RedisError as error:
            if is_outage(error):
                # No worker could extend its leases meanwhile: an expired lease proves nothing.
                self._stall_detector.record_failure()
            raise

    def _sweep_partitions(self) -> None:
        reliable_until = self._leases_are_reliable_until()
        if not reliable_until:
            self._workers.forget_missing()
        dead = self._dead_workers() if reliable_until else []
        result = self._sweeper.sweep(
            self._dispatcher.queue_lengths,
            dead=dead,
            reclaim_until=reliable_until,
            max_gap=self._max_gap,
        )
        metrics.sweep_finished(result)
        if result.recovered or result.failed or result.resent:
            log.warning("jobs recovered", dead_workers=dead, **vars(result))

    def _dead_workers(self) -> list[str]:
        """Return the workers that died. If they cannot be found, their leases expire instead."""
        try:
            return self._workers.dead()
        except RedisError as error:
            if is_outage(error):
                raise
            log_failure(log, "dead workers not found", error)
        except Exception:
            log.exception("dead workers not found")
        return []

    def _trim_state_log(self) -> None:
        if self._clock.monotonic() >= self._trim_at:
            jitter = random.uniform(0.5, 1.5)  # noqa: S311
            self._trim_at = self._clock.monotonic() + TRIM_INTERVAL * jitter
            trim(self._client)

    def _leases_are_reliable_until(self) -> float:
        """Return the time of the store's clock until which an expired lease proves a lost worker.

        0 if some living worker may not have been able to extend its leases lately.
        """
        try:
            just_restarted = uptime(self._client) <= self._lease
            seconds, micros = node_of(self._client, keys.WORKERS).time()
        except RedisError as error:
            if not isinstance(self._client, Cluster) or not is_outage(error):
                raise
            # The other nodes' partitions are swept all the same.
            log_failure(log, "a node of the job store is unavailable", error)
            self._stall_detector.record_failure()
            return 0.0
        store_time: float = seconds + micros / 1_000_000
        self._stall_detector.record_response(store_time)
        if just_restarted or not self._stall_detector.leases_are_reliable:
            return 0.0
        return store_time + self._reliable_for
