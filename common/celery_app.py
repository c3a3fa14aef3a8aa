"""Celery's configuration: the app that the API and the workers share, its tasks and its queues."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.transport import redis as kombu_redis
from redis.exceptions import OutOfMemoryError

from common import redis_url
from common.jobs.model import PRIORITIES

DOWNLOAD_TASK: Final = "longhaul.download"
QUEUE_PREFIX: Final = "longhaul."

#: What a worker consumes, in the order in which it polls.
QUEUES: Final = tuple(QUEUE_PREFIX + priority for priority in PRIORITIES)


class _BindingsAreOptional:
    """The part of a Redis channel that lets a worker consume while the server's memory is full.

    kombu stores a binding of each queue when a consumer starts. Without it, the consumer would stop
    and start again until there is memory, although it needs none for reading, and the jobs that it
    runs are what frees memory. The wake-ups' bindings exist already; that of the worker's queue for
    remote control is stored later, when kombu renews it.
    """

    def _queue_bind(self, *args: Any) -> None:
        with suppress(OutOfMemoryError):
            super()._queue_bind(*args)  # type: ignore[misc]


class _RedisChannel(_BindingsAreOptional, kombu_redis.Channel):
    """A channel of one server."""


class _RedisTransport(kombu_redis.Transport):
    Channel = _RedisChannel


class _SentinelChannel(_BindingsAreOptional, kombu_redis.SentinelChannel):
    """A channel of the server that the Sentinels name."""


class _SentinelTransport(kombu_redis.SentinelTransport):
    Channel = _SentinelChannel


#: By the transport of kombu that each one replaces.
_TRANSPORTS: Final = {
    kombu_redis.Transport: _RedisTransport,
    kombu_redis.SentinelTransport: _SentinelTransport,
}


class _Connection(Connection):
    """Retries an unavailable broker at least every two seconds.

    Celery's workers use kombu's own intervals, which grow to half a minute: after an outage of a
    few minutes no job would start for that long.
    """

    def get_transport_cls(self) -> Any:
        transport = super().get_transport_cls()
        return _TRANSPORTS.get(transport, transport)

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        intervals = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2}
        return super().ensure_connection(*args, **{**intervals, **kwargs})


class _Amqp(AMQP):  # type: ignore[misc]
    Connection = _Connection


def celery_app(broker: str, *, timeout: float = 5.0) -> Celery:
    """Return the Celery app for the broker with this URL.

    ``timeout``: seconds until a command of a Redis broker fails.
    """
    address, options = _broker(broker, timeout)
    app = Celery("longhaul", broker=address, amqp=_Amqp)
    app.conf.update(
        # A lost wake-up is sent again by the sweeper, so messages are acknowledged early and no
        # broker failure makes Celery run a task twice.
        task_acks_late=False,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE_PREFIX + "normal",
        task_queues=[_queue(name, broker) for name in QUEUES],
        task_create_missing_queues=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Otherwise a worker exits, with code 0, when a demoted primary replies to its blocking read
        # with UNBLOCKED or READONLY. It has to connect again instead.
        broker_channel_error_retry=True,
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


def _broker(url: str, timeout: float) -> tuple[str, dict[str, Any]]:
    """Return the broker's address in kombu's syntax and the options of its transport."""
    if _is_amqp(url):
        # Publisher confirms: a message that RabbitMQ confirmed is on a majority of its nodes.
        timeouts = {"connect_timeout": 1, "read_timeout": 1, "write_timeout": 1}
        return url, {"confirm_publish": True, **timeouts}
    target = redis_url.parse(url)
    options = {
        # Otherwise kombu stores each message in Redis until it is acknowledged: two more round
        # trips in the worker's only loop, for a wake-up that may be lost anyway.
        "ack_emulation": False,
        # Each priority has a queue of its own. With kombu's four priority steps on top, every poll
        # would name four times as many lists.
        "priority_steps": [0],
        "socket_timeout": timeout,
        "socket_connect_timeout": min(2.0, timeout),
        "socket_keepalive": True,
        "health_check_interval": 5,
        "queue_order_strategy": "priority",
    }
    if target.kind == "single":
        return url, options
    if target.kind == "cluster":
        raise ValueError(
            "Celery does not support Redis Cluster as a broker: set BROKER_URL to a single Redis "
            "or Valkey server, Sentinels or RabbitMQ"
        )
    options |= {
        "master_name": target.service,
        "sentinel_kwargs": {
            "password": target.sentinel_password,
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
            "ssl": target.tls,
        },
    }
    user = f"{quote(target.username or '', '')}:{quote(target.password or '', '')}@"
    user = user if target.password else ""
    return ";".join(
        f"sentinel://{user}{host}:{port}/{target.db}" for host, port in target.hosts
    ), options


def _is_amqp(url: str) -> bool:
    return url.startswith(("amqp://", "amqps://", "pyamqp://"))


def _queue(name: str, broker: str) -> Queue:
    # Bound under its own name: by default Celery binds every queue under the default queue's name.
    replicated = {"x-queue-type": "quorum"} if _is_amqp(broker) else None
    return Queue(
        name,
        Exchange("longhaul", type="direct"),
        routing_key=name,
        queue_arguments=replicated,
    )
