"""Wake-ups: the Celery messages that tell the workers to look at a job.

A wake-up carries no state. A lost one is sent again by the sweeper and a duplicate costs one round
trip, because the job's hash decides what happens (docs/decisions/0004-wake-ups-and-leases.md).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import structlog
from kombu.exceptions import OperationalError

from common.celery_app import DOWNLOAD_TASK, QUEUE_PREFIX
from common.jobs.model import PRIORITIES, WakeUp, WakeUpTemplate

if TYPE_CHECKING:
    from celery import Celery

    from common.clock import Clock

#: Unique: a job is never sent twice within one millisecond.
_TAG: Final = "@JOB@.@SENT@"
#: A wake-up in Celery's message protocol 2, inside the envelope of kombu's virtual transports. The
#: job store's scripts fill in the placeholders.
_MESSAGE: Final = {
    "body": json.dumps([["@JOB@", "@PRIORITY@", "@SENT@"], {}, {}]),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {
        "lang": "py",
        "task": DOWNLOAD_TASK,
        "id": _TAG,
    },
    "properties": {
        "delivery_tag": _TAG,
        "delivery_info": {"exchange": "", "routing_key": QUEUE_PREFIX + "@PRIORITY@"},
    },
}

#: Seconds during which nothing is sent after the broker failed.
BACKOFF: Final = 3.0
#: Seconds that a count of the broker's messages may take. While the sweeper waits for it, it would
#: not notice a stall of the job store: less than the ``MAX_RESPONSE_TIME`` of its thread.
MAX_COUNT_TIME: Final = 0.5

log = structlog.get_logger(__name__)


class Dispatcher:
    """Sends wake-ups for jobs that became ready.

    Where the broker is the job store's own server, the script that makes a job ready pushes the
    message itself, rendered from ``template``. Elsewhere ``send`` publishes it through Celery.
    """

    def __init__(
        self,
        app: Celery,
        *,
        same_server: bool,
        executor: Executor | None = None,
        clock: Clock = time,
    ) -> None:
        """``executor``: runs the counts of messages, one at a time."""
        self._app = app
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="broker")
        self._clock = clock
        self.template = (
            WakeUpTemplate(message=json.dumps(_MESSAGE), queue_prefix=QUEUE_PREFIX)
            if same_server
            else None
        )
        self._retry_at = 0.0

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        """Publish the wake-ups that a script could not push.

        Never raises: the job is stored, and the sweeper sends its wake-up again. After a failure
        nothing is sent for ``BACKOFF`` seconds, so that callers do not queue up behind a broker
        that hangs.
        """
        for wake_up in wake_ups:
            if self._clock.monotonic() < self._retry_at:
                return
            try:
                self._app.send_task(
                    DOWNLOAD_TASK,
                    args=[wake_up.job_id, wake_up.priority, wake_up.sent],
                    queue=QUEUE_PREFIX + wake_up.priority,
                )
            except Exception as error:
                # kombu may also raise an AttributeError, when it retries on a closed channel.
                is_outage = isinstance(error, self._broker_errors())
                log.warning(
                    "wake-up not sent; the sweeper will send it",
                    job_id=wake_up.job_id,
                    error=f"{type(error).__name__}: {error}",
                    exc_info=None if is_outage else error,
                )
                self._retry_at = self._clock.monotonic() + BACKOFF

    def queue_lengths(self) -> dict[str, int] | None:
        """Return the number of messages by priority, or None when the broker is unavailable.

        Takes at most ``MAX_COUNT_TIME`` seconds.
        """
        if self._clock.monotonic() < self._retry_at:
            return None
        count = self._executor.submit(self._count_messages)
        try:
            return count.result(MAX_COUNT_TIME)
        except TimeoutError:
            # A count that has started goes on, and the next one waits for it.
            count.cancel()
            self._retry_at = self._clock.monotonic() + BACKOFF
            return None

    def _count_messages(self) -> dict[str, int] | None:
        try:
            with self._app.connection_or_acquire() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
                return {
                    priority: _queue_length(connection, QUEUE_PREFIX + priority)
                    for priority in PRIORITIES
                }
        except self._broker_errors() as error:
            log.warning("broker queues not counted", error=f"{type(error).__name__}: {error}")
            self._retry_at = self._clock.monotonic() + BACKOFF
            return None

    def _broker_errors(self) -> tuple[type[Exception], ...]:
        """Return what Celery raises when the broker is unavailable or rejects a command."""
        connection = self._app.connection_for_read()
        return (
            OperationalError,
            OSError,
            *connection.connection_errors,
            *connection.channel_errors,
        )


def _queue_length(connection: Any, queue: str) -> int:
    # A rejected declaration closes an AMQP channel, so every queue gets its own.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except connection.channel_errors:
            return 0  # On Redis an empty queue does not exist.
