"""The thread that turns the state log into webhooks and delivers those that are due."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from worker import metrics

if TYPE_CHECKING:
    from common.job_store.state_log import StateLog, StateLogEntry
    from common.job_store.webhook_deliveries import WebhookDeliveries, WebhookDelivery
    from worker.webhooks.sender import WebhookSender

#: Seconds between two looks at the state log and at what is due.
INTERVAL: Final = 0.5
#: Posts of this process at the same time; each may last 15 s.
WIDTH: Final = 8
#: Posts for one user at the same time: a receiver that hangs leaves hands free for the others.
PER_USER: Final = 2
#: Deliveries taken at once of each of the 16 partitions: at most three rounds of posts.
PER_PARTITION: Final = 1
#: Seconds that a taken delivery is nobody else's: longer than three rounds of posts.
LEASE: Final = 60.0
#: What another process read and did not finish is taken over after so long, seconds.
TAKE_OVER_AFTER: Final = 30.0

log = structlog.get_logger(__name__)


class WebhookThread:
    """Runs in every worker process; any number may run at once."""

    def __init__(
        self, state_log: StateLog, deliveries: WebhookDeliveries, courier: WebhookSender
    ) -> None:
        """``state_log`` is read as the group for webhooks."""
        self._state_log = state_log
        self._deliveries = deliveries
        self._courier = courier
        self._posts = ThreadPoolExecutor(WIDTH, thread_name_prefix="webhook")
        #: Posts that were begun, and whose they are.
        self._under_way: dict[Future[None], str] = {}
        self._joined = False
        self._take_over_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work_for_ever, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; posts under way may end, the others lapse to another process."""
        self._ended.set()
        self._posts.shutdown(wait=False, cancel_futures=True)

    def _work_for_ever(self) -> None:
        while not self._ended.wait(INTERVAL * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                self.schedule()
                self.deliver()
            except RedisError as error:
                log.warning("webhooks wait for the job store", error=str(error))
            except Exception:
                # The pool of posts may have been shut down since the look at the event.
                if not self._ended.is_set():
                    log.exception("webhooks broke")

    def schedule(self) -> None:
        """Make a delivery of each terminal state that the state log tells of."""
        if not self._joined:
            self._state_log.join()
            self._joined = True
        self._schedule(self._state_log.read(count=100))
        if time.monotonic() >= self._take_over_at:
            self._schedule(self._state_log.take_over(idle=round(TAKE_OVER_AFTER * 1000), count=100))
            self._take_over_at = time.monotonic() + TAKE_OVER_AFTER / 2

    def _schedule(self, entries: list[StateLogEntry]) -> None:
        changes = [entry for entry in entries if entry.delivery is None]
        # Most jobs have no webhook: their text says so without being read.
        likely = [entry for entry in changes if "callback_url" in entry.snapshot]
        wanted = [entry for entry in likely if entry.job.terminal and entry.job.callback_url]
        if wanted:
            self._deliveries.schedule(wanted)
        if entries:
            self._state_log.ack(entries)

    def deliver(self) -> None:
        """Start posting what is due, unless all hands are busy."""
        self._under_way = {post: user for post, user in self._under_way.items() if not post.done()}
        if len(self._under_way) >= WIDTH:
            return
        posts = Counter(self._under_way.values())
        busy = [user for user, count in posts.items() if count >= PER_USER]
        for delivery in self._deliveries.claim(limit=PER_PARTITION, lease=LEASE, busy=busy):
            post = self._posts.submit(self._deliver, delivery)
            self._under_way[post] = delivery.job.user

    def _deliver(self, delivery: WebhookDelivery) -> None:
        try:
            verdict = self._courier.deliver(delivery)
            metrics.WEBHOOKS.labels(verdict.state).inc()
            self._deliveries.record_attempt(
                delivery, verdict.state, verdict.entry, delay=verdict.delay
            )
        except RedisError as error:
            log.warning("webhook not settled, it will be posted again", error=str(error))
        except Exception:
            log.exception("webhook broke", webhook_id=delivery.id)
