"""The sweeper: does what is due in every partition. Every worker may run it at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from common.errors import WorkerLost
from common.job_store import keys
from common.job_store.cluster import node_of
from common.job_store.errors import is_outage, log_failure, raise_outage, successes
from common.job_store.records import decode_wake_ups, milliseconds
from common.job_store.scripts import Scripts
from common.job_store.worker_registry import DEAD_AFTER
from common.jobs.model import PRIORITIES
from common.jobs.transitions import JobState, sources_of

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.jobs import Limits, WakeUpSender

#: Jobs of each kind and partition in one sweep; the rest waits for the next one.
BATCH: Final = 100
#: Milliseconds by which later wake-ups must have overtaken one for it to count as lost. Covers the
#: time from reading a message to the claim, and from a script to a broker on another server.
LOST_AFTER: Final = 5_000
#: The same after a worker has died: most likely it had read the missing wake-ups.
LOST_AFTER_WORKER_DEATH: Final = 1_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SweepResult:
    """The number of jobs that a sweep changed, by what happened to them."""

    #: Taken from a lost worker and queued again.
    recovered: int = 0
    #: Taken from a lost worker and failed, with no attempts left.
    failed: int = 0
    #: Their backoff was over.
    promoted: int = 0
    #: Their archive expired.
    expired: int = 0
    #: Their wake-up was lost and sent again.
    resent: int = 0


class Sweeper:
    """Recovers lost jobs and wake-ups, promotes due retries and expires old archives."""

    def __init__(
        self,
        client: Redis,
        wake_ups: WakeUpSender,
        limits: Limits,
        *,
        max_wait: float,
        heartbeat: float = 0.5,
    ) -> None:
        """``max_wait``: seconds until a waiting job moves to the next higher priority.

        ``heartbeat``: seconds between two extensions of a lease.
        """
        self._client = client
        self._scripts = Scripts(client, template=wake_ups.template)
        self._wake_ups = wake_ups
        self._args: Mapping[str, object] = {
            "allowed": ",".join(sorted(sources_of(JobState.QUEUED))),
            "limit": BATCH,
            **limits.lifetimes(),
            "lease": milliseconds(limits.lease),
            "error": WorkerLost().message,
            # A worker that misses two heartbeats of a job may be dead.
            "dead_after": max(DEAD_AFTER, 2 * milliseconds(heartbeat)),
            "max_wait": milliseconds(max_wait),
        }
        #: By priority: every wake-up sent before this time (ms) has been read from its queue.
        self._read_up_to = dict.fromkeys(PRIORITIES, 0)

    def sweep(
        self,
        queue_lengths: Callable[[], Mapping[str, int] | None],
        *,
        dead: Sequence[str] = (),
        reclaim_until: float | None = None,
        max_gap: float | None = None,
    ) -> SweepResult:
        """Scan all partitions once. An error in one of them does not affect the others.

        ``queue_lengths`` returns the number of messages in each of the broker's queues, or None
        when it is unknown. ``dead`` names workers whose jobs are taken before their leases expire.
        ``reclaim_until``: seconds of the store's clock. In a script that runs later, every lease
        counts as live: the store did not respond meanwhile, or its clock jumped, so its workers
        need time to extend them. None: no limit.
        ``max_gap``: seconds since this sweeper's last sweep at most. A lease that expired
        before, but that the last sweep did not see, was written while the clock was set back. It
        stays valid for another half lease. None: unknown.

        Raises ``RedisError`` when the store is unavailable, even if only in some partitions.
        """
        self._note_empty_queues(queue_lengths)
        args = {
            **self._args,
            **{f"read_up_to_{priority}": time for priority, time in self._read_up_to.items()},
            "lost_after": LOST_AFTER_WORKER_DEATH if dead else LOST_AFTER,
            "dead": ",".join(dead) or None,
            "reclaim_until": None if reclaim_until is None else milliseconds(reclaim_until),
            "max_gap": None if max_gap is None else milliseconds(max_gap),
        }
        results = self._scripts.run_in_partitions(
            "sweep", partial(keys.of_partition, "leases"), args
        )
        totals = [0] * len(fields(SweepResult))
        for _, *values in successes(log, "partition not swept", results).values():
            counts, values = values[: len(totals)], values[len(totals) :]
            times, wake_ups = values[: len(PRIORITIES)], values[len(PRIORITIES) :]
            totals = [total + int(count) for total, count in zip(totals, counts, strict=True)]
            for priority, time in zip(PRIORITIES, times, strict=True):
                self._read_up_to[priority] = max(self._read_up_to[priority], int(time))
            self._wake_ups.send(decode_wake_ups(wake_ups))
        raise_outage(results.values())
        return SweepResult(*totals)

    def _note_empty_queues(self, queue_lengths: Callable[[], Mapping[str, int] | None]) -> None:
        """Remember that an empty queue has been read up to now."""
        # The clock is read before the messages are counted: the count may lack what is sent in
        # between, and this process may be delayed for any time before it acts on the count.
        try:
            clock: Any = node_of(self._client, keys.WORKERS).time()
        except RedisError as error:
            if not is_outage(error):
                raise
            # Partitions of other nodes of a cluster are swept without it.
            log_failure(log, "empty queues not noted", error)
            return
        now = clock[0] * 1000 + clock[1] // 1000
        for priority, time in self._read_up_to.items():
            if time > now:  # The clock was set back.
                self._read_up_to[priority] = 0
        for priority, messages in (queue_lengths() or {}).items():
            if not messages:
                self._read_up_to[priority] = max(self._read_up_to[priority], now)
