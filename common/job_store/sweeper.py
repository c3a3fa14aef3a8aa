"""Everything that is due, partition by partition: safe to run in every worker at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from common.errors import WorkerLost
from common.job_store import keys
from common.job_store.cluster import node_of
from common.job_store.records import decode_wake_ups
from common.job_store.scripts import Scripts, raise_for_code
from common.jobs.model import PRIORITIES
from common.jobs.transitions import JobState, sources_of

if TYPE_CHECKING:
    from redis import Redis

    from common.job_store.jobs import Limits, WakeUpSender

#: Jobs of each kind and partition in one sweep; the rest waits for the next.
BATCH: Final = 100
#: Milliseconds by which a wake-up must have been overtaken before it counts as lost: the time from
#: reading a message to the claim, and from a script to the broker where that is another server.
LOST_AFTER: Final = 5_000
#: The same when a worker has just died: most likely it had read what is missing.
LOST_WITH_A_WORKER: Final = 1_000


@dataclass(frozen=True)
class SweepResult:
    """How many jobs a sweep touched, by what happened to them."""

    #: Taken from a silent worker and queued again.
    recovered: int = 0
    #: Taken from a silent worker for the last time.
    failed: int = 0
    #: Their backoff was over.
    promoted: int = 0
    #: Their archive's time was over.
    expired: int = 0
    #: Their wake-up was lost and sent again.
    resent: int = 0


class Sweeper:
    """Recovers lost jobs and lost messages, promotes due retries, expires old archives."""

    def __init__(
        self, client: Redis, wake_ups: WakeUpSender, limits: Limits, *, max_wait: float
    ) -> None:
        self._client = client
        self._scripts = Scripts(client, template=wake_ups.template)
        self._wake_ups = wake_ups
        self._args: Mapping[str, object] = {
            "allowed": ",".join(sorted(sources_of(JobState.QUEUED))),
            "limit": BATCH,
            "job_ttl": round(limits.job_ttl * 1000),
            "error": WorkerLost().message,
            "max_wait": round(max_wait * 1000),
        }
        self._reached = dict.fromkeys(PRIORITIES, 0)

    def sweep(
        self,
        waiting: Callable[[], Mapping[str, int] | None],
        *,
        dead: Sequence[str] = (),
        reclaim: bool = True,
    ) -> SweepResult:
        """One look at all partitions.

        ``waiting`` counts the messages in the broker's queues, None when unknown. ``dead``: workers
        whose jobs are taken before their leases lapse. ``reclaim=False`` believes every lease:
        after the store was away, its workers must first have had the time to renew them.

        Raises ``redis.exceptions.RedisError`` when the store cannot be reached.
        """
        self._look_for_empty_queues(waiting)
        args = {
            **self._args,
            **{f"reached_{priority}": at for priority, at in self._reached.items()},
            "lost_after": LOST_WITH_A_WORKER if dead else LOST_AFTER,
            "dead": ",".join(dead) or None,
            "reclaim": int(reclaim),
        }
        with self._client.pipeline(transaction=False) as pipe:
            for tag in keys.all_tags():
                self._scripts.queue(pipe, "sweep", keys.of_partition("leases", tag), args)
            results = [raise_for_code(result)[1:] for result in pipe.execute()]
        totals = [0] * len(fields(SweepResult))
        for values in results:
            counts, values = values[: len(totals)], values[len(totals) :]
            reached, hints = values[: len(PRIORITIES)], values[len(PRIORITIES) :]
            totals = [total + int(count) for total, count in zip(totals, counts, strict=True)]
            for priority, at in zip(PRIORITIES, reached, strict=True):
                self._reached[priority] = max(self._reached[priority], int(at))
            self._wake_ups.send(decode_wake_ups(hints))
        return SweepResult(*totals)

    def _look_for_empty_queues(self, waiting: Callable[[], Mapping[str, int] | None]) -> None:
        """An empty queue has been read up to now."""
        # The time first: what is sent while the messages are counted may not be among them, and
        # this process may be held up for any time before it acts on what it saw.
        clock: Any = node_of(self._client, keys.WORKERS).time()
        now = clock[0] * 1000 + clock[1] // 1000
        for priority, messages in (waiting() or {}).items():
            if not messages:
                self._reached[priority] = max(self._reached[priority], now)
