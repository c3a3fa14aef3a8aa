"""One thread for all attempts: it sends progress, extends leases and learns of cancellations."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.errors import CancelRequested, Draining, LeaseLost
from common.job_store.errors import is_outage, log_failure
from common.job_store.records import progress_fields
from worker.loop_thread import LoopThread

if TYPE_CHECKING:
    from common.clock import Clock
    from common.job_store.jobs import JobStore
    from common.jobs.model import Lease
    from worker.attempt.control import AttemptControl

#: Seconds between two progress events of one job.
PROGRESS_INTERVAL: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class _Attempt:
    lease: Lease
    control: AttemptControl
    reported: dict[str, object] = field(default_factory=dict)
    reported_at: float = 0.0


def _exit() -> None:
    # Not sys.exit, which ends only the calling thread. The kernel closes the process's connection
    # to the worker registry, so other workers take over its jobs within seconds.
    os._exit(1)


class HeartbeatThread(LoopThread):
    """Sends the heartbeats of all attempts of this process until the process ends.

    The first one immediately: no one notices the death of an unregistered worker.
    """

    def __init__(
        self,
        jobs: JobStore,
        *,
        interval: float,
        on_heartbeat: Callable[[], None],
        on_death: Callable[[], object] = _exit,
        clock: Clock = time,
    ) -> None:
        """``interval``: seconds between heartbeats; a cancelled job stops within about one.

        ``on_heartbeat`` is called every time, to register that the whole process is alive.
        ``on_death`` is called if the thread ends without being stopped: without heartbeats the
        process loses every job that it runs, so by default it exits with an error.
        """
        super().__init__("heartbeat")
        self._jobs = jobs
        self._clock = clock
        self._on_heartbeat = on_heartbeat
        self._on_death = on_death
        self._interval = interval
        #: Not by job: this process may claim a job again before its earlier attempt has ended.
        self._attempts: dict[Lease, _Attempt] = {}
        self._lock = threading.Lock()
        self._draining = False

    def running_jobs(self) -> tuple[str, ...]:
        """Return the ids of the jobs that this process works on."""
        with self._lock:
            return tuple(dict.fromkeys(lease.job_id for lease in self._attempts))

    @contextmanager
    def keep_lease(self, lease: Lease, control: AttemptControl) -> Iterator[None]:
        """Extend the lease and stop ``control`` when it has to, while the block runs."""
        with self._lock:
            self._attempts[lease] = _Attempt(lease=lease, control=control)
            if self._draining:
                control.stop(Draining())
        try:
            yield
        finally:
            with self._lock:
                self._attempts.pop(lease, None)

    @property
    def draining(self) -> bool:
        """Whether this process shuts down."""
        return self._draining

    def drain(self) -> None:
        """Stop every attempt so that its job returns to the queue."""
        with self._lock:
            self._draining = True
            attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.control.stop(Draining())

    def _run(self) -> None:
        try:
            super()._run()
        except BaseException:
            log.critical("heartbeat thread ended unexpectedly", exc_info=True)
            self._on_death()

    def step(self) -> float:
        """Send every heartbeat. The failure of one does not affect the others."""
        with self._lock:
            attempts = list(self._attempts.values())
        # The registry has a connection of its own: those of the attempts may work without it.
        _responds(self._on_heartbeat)
        unavailable: set[str] = set()
        for attempt in attempts:
            server = self._jobs.server_of(attempt.lease.job_id)
            # Each further call to such a server would wait for its timeout as well.
            if server not in unavailable and not _responds(partial(self._send, attempt)):
                unavailable.add(server)
        return self._interval

    def _send(self, attempt: _Attempt) -> None:
        fields: dict[str, object] = {}
        if self._clock.monotonic() - attempt.reported_at >= PROGRESS_INTERVAL:
            progress, percent = attempt.control.progress()
            fields = progress_fields(progress, percent=percent)
        if fields == attempt.reported:
            fields = {}
        reports = attempt.control.take_reports()
        try:
            result = self._jobs.heartbeat(attempt.lease, fields, reports)
        except BaseException:
            attempt.control.restore_reports(reports)
            raise
        if fields:
            attempt.reported, attempt.reported_at = fields, self._clock.monotonic()
        if result == "CANCEL":
            attempt.control.stop(CancelRequested())
        elif result == "LOST":
            attempt.control.stop(LeaseLost())


def _responds(send: Callable[[], None]) -> bool:
    """Send a heartbeat. Return False if the job store is unavailable; only log other errors."""
    try:
        send()
    except RedisError as error:
        # If a lease expires meanwhile, the fencing token protects the job from the attempt.
        log_failure(log, "heartbeat failed", error)
        return not is_outage(error)
    except Exception:
        log.exception("heartbeat raised an unexpected error")
    return True
