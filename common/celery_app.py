"""The Celery side of a wake-up: names, configuration, and how a hint becomes a message.

A message only says "look at this job". Losing one, or having it twice, costs a round trip: the
truth is in the job's hash (docs/decisions/hints-and-leases.md).
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import structlog
from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from common import redis_url
from common.jobs.model import Messages, WakeUp

DOWNLOAD_TASK: Final = "longhaul.download"
QUEUE_PREFIX: Final = "longhaul."
UPKEEP_TASK: Final = "longhaul.upkeep"
UPKEEP_QUEUE: Final = QUEUE_PREFIX + "upkeep"
#: Seconds between two runs of the upkeep.
UPKEEP_EVERY: Final = 300.0
#: The order in which a worker looks for work.
PRIORITIES: Final = ("high", "normal", "low")

#: What a worker consumes, in its order of looking: the upkeep is rare, short and must not starve.
QUEUES: Final = (UPKEEP_QUEUE, *(QUEUE_PREFIX + lane for lane in PRIORITIES))

#: Unique, for a job is not sent twice within a millisecond.
_TAG: Final = "@JOB@.@SENT@"
#: A wake-up as Celery's protocol 2 wants it, inside the envelope of kombu's virtual transports.
#: The marks are filled in by the job store's scripts.
_MESSAGE: Final = {
    "body": json.dumps([["@JOB@", "@LANE@", "@SENT@"], {}, {}]),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {
        "lang": "py",
        "task": DOWNLOAD_TASK,
        "id": _TAG,
    },
    "properties": {
        "delivery_tag": _TAG,
        "delivery_info": {"exchange": "", "routing_key": QUEUE_PREFIX + "@LANE@"},
    },
}

#: Seconds for which a broker that failed is left alone.
SILENCE: Final = 3.0

log = structlog.get_logger(__name__)


class _Connection(Connection):
    """Looks for a broker that is away every two seconds.

    Celery's workers take kombu's own pauses, which grow to half a minute: after an outage of some
    minutes no job would be begun for so long.
    """

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        pauses = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2}
        return super().ensure_connection(*args, **{**pauses, **kwargs})


class _Amqp(AMQP):  # type: ignore[misc]
    Connection = _Connection


def celery_app(broker: str) -> Celery:
    """The Celery app that the API, the workers and beat share; ``docs/decisions`` says why so."""
    address, options = _broker(broker)
    app = Celery("longhaul", broker=address, amqp=_Amqp)
    app.conf.update(
        # The messages are hints: a lost one is found by the sweeper, so nothing is acknowledged
        # late, and no broker failure makes Celery run a task a second time.
        task_acks_late=False,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE_PREFIX + "normal",
        task_queues=[_queue(name, broker) for name in QUEUES],
        beat_schedule={
            "upkeep": {
                "task": UPKEEP_TASK,
                "schedule": UPKEEP_EVERY,
                # One that nobody took in time is not worth more than the next one.
                "options": {"queue": UPKEEP_QUEUE, "expires": UPKEEP_EVERY / 2},
            }
        },
        task_create_missing_queues=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=options,
        task_publish_retry_policy={
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.2,
        },
    )
    if broker.startswith("rediss"):
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return app


def _broker(url: str) -> tuple[str, dict[str, Any]]:
    """The broker's address as kombu wants it, and the options of its transport."""
    if _is_amqp(url):
        # Publisher confirms: what RabbitMQ took is on a majority of its nodes.
        limits = {"connect_timeout": 1, "read_timeout": 1, "write_timeout": 1}
        return url, {"confirm_publish": True, **limits}
    place = redis_url.parse(url)
    options = {
        # Else kombu notes each message in Redis until it is acknowledged: two more round trips, in
        # the worker's one loop, for a hint that may be lost.
        "ack_emulation": False,
        # The lanes are queues of their own. With kombu's four priorities within each of them, every
        # look for work would name sixteen lists.
        "priority_steps": [0],
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 5,
        "queue_order_strategy": "priority",
    }
    if place.kind == "single":
        return url, options
    if place.kind == "cluster":
        raise ValueError("Celery knows no Redis cluster: BROKER_URL has to name another broker")
    options |= {
        "master_name": place.service,
        "sentinel_kwargs": {
            "password": place.sentinel_password,
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
            "ssl": place.tls,
        },
    }
    user = f"{quote(place.username or '', '')}:{quote(place.password or '', '')}@"
    user = user if place.password else ""
    return ";".join(
        f"sentinel://{user}{host}:{port}/{place.db}" for host, port in place.hosts
    ), options


def _is_amqp(url: str) -> bool:
    return url.startswith(("amqp://", "amqps://", "pyamqp://"))


def _queue(name: str, broker: str) -> Queue:
    # Bound under its own name: Celery's default would bind every queue under the default's.
    replicated = {"x-queue-type": "quorum"} if _is_amqp(broker) else None
    return Queue(
        name,
        Exchange("longhaul", type="direct"),
        routing_key=name,
        queue_arguments=replicated,
    )


class Dispatcher:
    """Sends wake-ups for jobs that became ready.

    Where the broker is the job store's own server, the script that makes a job ready pushes the
    message itself, out of ``messages``. Elsewhere ``send`` does it through Celery.
    """

    def __init__(self, app: Celery, *, same_server: bool) -> None:
        self._app = app
        self.messages = (
            Messages(template=json.dumps(_MESSAGE), queue=QUEUE_PREFIX) if same_server else None
        )
        self._silent_until = 0.0

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        """Send what no script could push. That a broker is down is no error: sweepers send again.

        After a failure nothing is sent for some seconds, so that not every caller waits for a
        broker that hangs.
        """
        for wake_up in wake_ups:
            if time.monotonic() < self._silent_until:
                return
            try:
                self._app.send_task(
                    DOWNLOAD_TASK,
                    args=[wake_up.job_id, wake_up.lane, wake_up.sent],
                    queue=QUEUE_PREFIX + wake_up.lane,
                )
            except (OperationalError, OSError) as error:
                log.warning(
                    "wake-up not sent, the sweeper will", job_id=wake_up.job_id, error=str(error)
                )
                self._silent_until = time.monotonic() + SILENCE

    def waiting(self) -> dict[str, int] | None:
        """Messages in each lane's queue, or None when the broker does not answer."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            with self._app.connection_or_acquire() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
                return {lane: _messages(connection, QUEUE_PREFIX + lane) for lane in PRIORITIES}
        except (OperationalError, OSError, *self._app.connection_for_read().connection_errors):
            self._silent_until = time.monotonic() + SILENCE
            return None


def _messages(connection: Any, queue: str) -> int:
    # A refused declaration closes an AMQP channel, so each lane gets its own.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except connection.channel_errors:
            return 0  # On Redis an empty queue does not exist.
