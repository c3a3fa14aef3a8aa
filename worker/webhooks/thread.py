"""The thread that schedules webhooks from the state log and delivers those that are due."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from common.job_store.errors import log_failure
from worker import metrics
from worker.loop_thread import LoopThread

if TYPE_CHECKING:
    from common.clock import Clock
    from common.job_store.state_log import StateLog, StateLogEntry
    from common.job_store.webhook_deliveries import WebhookDeliveries, WebhookDelivery
    from worker.webhooks.sender import WebhookSender

#: Seconds between two polls of the state log and of the due deliveries.
POLL_INTERVAL: Final = 0.5
#: Concurrent posts of this process; each may take 15 s.
MAX_POSTS: Final = 8
#: Concurrent posts for one user, so that a receiver that hangs does not block the others.
MAX_POSTS_PER_USER: Final = 2
#: Deliveries claimed at once from each of the 16 partitions: at most three rounds of posts.
CLAIMED_PER_PARTITION: Final = 1
#: Seconds for which a claimed delivery is reserved: longer than three rounds of posts.
LEASE: Final = 60.0
#: Seconds after which entries that another process read and did not finish are taken over.
TAKE_OVER_AFTER: Final = 30.0

log = structlog.get_logger(__name__)


class WebhookThread(LoopThread):
    """Runs in every worker process. They share the work through the job store."""

    def __init__(
        self,
        state_log: StateLog,
        deliveries: WebhookDeliveries,
        sender: WebhookSender,
        *,
        posts: Executor | None = None,
        clock: Clock = time,
    ) -> None:
        """``state_log``: as the consumer group for webhooks reads it. ``posts``: runs the posts."""
        super().__init__("webhooks")
        self._clock = clock
        self._state_log = state_log
        self._deliveries = deliveries
        self._sender = sender
        self._posts = posts or ThreadPoolExecutor(MAX_POSTS, thread_name_prefix="webhook")
        #: Unfinished posts, with their users.
        self._posting: dict[Future[None], str] = {}
        self._joined = False
        self._take_over_at = 0.0
        self.first_pause = self._pause()

    def stop(self) -> None:
        """Start no more posts. Those that do not finish are retried by another process."""
        super().stop()
        self._posts.shutdown(wait=False, cancel_futures=True)

    def step(self) -> float:
        try:
            self.schedule()
            self.deliver()
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
        """Schedule a delivery for each new terminal state in the state log."""
        if not self._joined:
            self._state_log.create_group()
            self._joined = True
        self._schedule(self._state_log.read(count=100))
        if self._clock.monotonic() >= self._take_over_at:
            self._schedule(
                self._state_log.claim_idle(idle_ms=round(TAKE_OVER_AFTER * 1000), count=100)
            )
            self._take_over_at = self._clock.monotonic() + TAKE_OVER_AFTER / 2

    def _schedule(self, entries: list[StateLogEntry]) -> None:
        changes = [entry for entry in entries if entry.delivery is None]
        # Most jobs have no webhook, which shows without parsing the snapshot.
        likely = [entry for entry in changes if "callback_url" in entry.snapshot]
        wanted = [entry for entry in likely if entry.job.terminal and entry.job.callback_url]
        if wanted:
            self._deliveries.schedule(wanted)
        if entries:
            self._state_log.ack(entries)

    def deliver(self) -> None:
        """Start to post due deliveries, up to the limit of concurrent posts."""
        self._posting = {post: user for post, user in self._posting.items() if not post.done()}
        if len(self._posting) >= MAX_POSTS:
            return
        posts = Counter(self._posting.values())
        busy = [user for user, count in posts.items() if count >= MAX_POSTS_PER_USER]
        for delivery in self._deliveries.claim(limit=CLAIMED_PER_PARTITION, lease=LEASE, busy=busy):
            post = self._posts.submit(self._deliver, delivery)
            self._posting[post] = delivery.job.user

    def _deliver(self, delivery: WebhookDelivery) -> None:
        try:
            outcome = self._sender.deliver(delivery)
            metrics.WEBHOOKS.labels(outcome.state).inc()
            self._deliveries.record_attempt(
                delivery, outcome.state, outcome.attempt, delay=outcome.delay
            )
        except RedisError as error:
            log_failure(log, "result of a webhook not recorded, it will be posted again", error)
        except Exception:
            log.exception("webhook raised an unexpected error", webhook_id=delivery.id)
