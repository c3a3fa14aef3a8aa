"""One timer for all attempts of the process: progress, lease and cancel check in one round trip."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.errors import CancelRequested, Draining, LeaseLost
from common.job_store.records import progress_fields

if TYPE_CHECKING:
    from common.job_store.jobs import JobStore
    from common.jobs.model import Lease
    from worker.attempt.control import AttemptControl

#: Seconds between two progress events of one job.
REPORT_EVERY: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class _Run:
    lease: Lease
    control: AttemptControl
    reported: dict[str, object] = field(default_factory=dict)
    reported_at: float = 0.0


class HeartbeatThread:
    """Beats for every attempt of this process until the process ends."""

    def __init__(self, jobs: JobStore, *, interval: float, alive: Callable[[], None]) -> None:
        """``interval``: seconds between beats; a cancelled job stops within about one of them.

        ``alive`` is called with each beat, to show that the whole process lives.
        """
        self._jobs = jobs
        self._alive = alive
        self._interval = interval
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._draining = False
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._beat_for_ever, name="heart", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def running(self) -> tuple[str, ...]:
        """Ids of the jobs at work."""
        with self._lock:
            return tuple(self._runs)

    @contextmanager
    def beating(self, lease: Lease, control: AttemptControl) -> Iterator[None]:
        """Keep the lease alive and pass on stops, for as long as the block runs."""
        with self._lock:
            self._runs[lease.job_id] = _Run(lease=lease, control=control)
            if self._draining:
                control.stop(Draining())
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(lease.job_id, None)

    def drain(self) -> None:
        """Tell every attempt to stop so that its job can be handed back."""
        with self._lock:
            self._draining = True
            runs = list(self._runs.values())
        for run in runs:
            run.control.stop(Draining())

    def _beat_for_ever(self) -> None:
        # The first one at once: of a worker that was never seen alive nobody sees that it died.
        while True:
            with self._lock:
                runs = list(self._runs.values())
            try:
                self._alive()
                for run in runs:
                    self._beat(run)
            except RedisError as error:
                # Leases may lapse meanwhile; the fence then refuses what these attempts write.
                log.warning("heartbeat failed", error=str(error))
            if self._ended.wait(self._interval):
                return

    def _beat(self, run: _Run) -> None:
        fields: dict[str, object] = {}
        if time.monotonic() - run.reported_at >= REPORT_EVERY:
            progress, percent = run.control.progress()
            fields = progress_fields(progress, percent=percent)
        if fields == run.reported:
            fields = {}
        reports = run.control.take_reports()
        try:
            answer = self._jobs.heartbeat(run.lease, fields, reports)
        except RedisError:
            run.control.give_back(reports)
            raise
        if fields:
            run.reported, run.reported_at = fields, time.monotonic()
        if answer == "CANCEL":
            run.control.stop(CancelRequested())
        elif answer == "GONE":
            run.control.stop(LeaseLost())
