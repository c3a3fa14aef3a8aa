"""The thread that schedules webhooks and emails from the state log and delivers what is due."""

from __future__ import annotations

import random
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.job_store.errors import log_failure
from worker import metrics
from worker.deliverer import Deliverer
from worker.loop_thread import LoopThread
from worker.webhooks.http_poster import TIMEOUT

if TYPE_CHECKING:
    from common.clock import Clock
    from common.job_store.deliveries import Deliveries
    from common.job_store.state_log import StateLog, StateLogEntry
    from worker.webhooks.sender import WebhookSender

#: Seconds between two polls of the state log and of the due deliveries.
POLL_INTERVAL: Final = 0.5
#: Concurrent posts of this process; each may take 15 s.
MAX_POSTS: Final = 8
#: Seconds after which entries that another process read and did not finish are taken over.
TAKE_OVER_AFTER: Final = 30.0

log = structlog.get_logger(__name__)


class WebhookThread(LoopThread):
    """Runs in every worker process. They share the work through the job store."""

    def __init__(
        self,
        state_log: StateLog,
        deliveries: Deliveries,
        sender: WebhookSender,
        *,
        emails: Deliverer | None = None,
        posts: Executor | None = None,
        clock: Clock = time,
    ) -> None:
        """``state_log``: as the consumer group for webhooks reads it. ``posts``: runs the posts."""
        super().__init__("webhooks")
        self._clock = clock
        self._state_log = state_log
        webhooks = Deliverer(
            deliveries,
            sender,
            wants=has_webhook,
            executor=posts or ThreadPoolExecutor(MAX_POSTS, thread_name_prefix="webhook"),
            max_attempts=MAX_POSTS,
            max_duration=TIMEOUT,
            counter=metrics.WEBHOOKS,
            clock=clock,
        )
        self._deliverers = [webhooks] if emails is None else [webhooks, emails]
        self._joined = False
        self._take_over_at = 0.0
        self.first_pause = self._pause()

    def stop(self) -> None:
        """Start no more posts. Those that do not finish are retried by another process."""
        super().stop()
        for deliverer in self._deliverers:
            deliverer.stop()

    def step(self) -> float:
        # What is due is delivered even if nothing can be scheduled.
        for run in (self.schedule, self.deliver):
            try:
                run()
            except RedisError as error:
                log_failure(log, "webhooks postponed", error)
            except Exception:
                # The executor may have been shut down after the thread was last checked.
                if not self._stopped.is_set():
                    log.exception("webhook thread raised an unexpected error")
        return self._pause()

    def _pause(self) -> float:
        return POLL_INTERVAL * random.uniform(0.8, 1.2)  # noqa: S311

    def schedule(self) -> None:
        """Schedule the deliveries of each new terminal state in the state log."""
        if not self._joined:
            self._state_log.create_group()
            self._joined = True
        self._schedule(self._state_log.read(count=100))
        if self._clock.monotonic() >= self._take_over_at:
            # Before the call: one that fails takes long, and is not repeated in every step.
            self._take_over_at = self._clock.monotonic() + TAKE_OVER_AFTER / 2
            self._schedule(
                self._state_log.claim_idle(idle_ms=round(TAKE_OVER_AFTER * 1000), count=100)
            )

    def _schedule(self, entries: list[StateLogEntry]) -> None:
        changes = [entry for entry in entries if entry.delivery is None]
        for deliverer in self._deliverers:
            deliverer.schedule(changes)
        if entries:
            self._state_log.ack(entries)

    def deliver(self) -> None:
        """Start the deliveries that are due, up to the limit of concurrent ones."""
        for deliverer in self._deliverers:
            deliverer.deliver()


def has_webhook(entry: StateLogEntry) -> bool:
    """Return whether a state change is terminal and its job has a callback URL."""
    # Most jobs have no webhook, which shows without parsing the snapshot.
    if "callback_url" not in entry.snapshot:
        return False
    return entry.job.terminal and entry.job.callback_url is not None
