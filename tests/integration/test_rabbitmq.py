"""RabbitMQ as the broker, with quorum queues."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from common.bootstrap import same_server
from common.celery_app import QUEUE_PREFIX, celery_app
from common.job_store.jobs import JobStore
from common.jobs.model import JobSpec, Priority
from common.wake_ups import Dispatcher
from stack.process import wait_until
from stack.services import Valkey
from tests.support import rabbitmq
from tests.support.tcp_proxy import TcpProxy

pytestmark = [
    pytest.mark.skipif(
        not rabbitmq.installed(), reason="Debian's rabbitmq-server is not installed on this machine"
    ),
    # Erlang starts slowly on a busy machine.
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rabbitmq.rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


def test_wake_ups_are_sent_through_replicated_queues(
    broker: str, valkey: Valkey, redis: Redis
) -> None:
    assert not same_server(valkey.url, broker)
    app = celery_app(broker)
    dispatcher = Dispatcher(app, same_server=False)
    jobs = JobStore(redis, dispatcher)
    with app.connection_for_write() as connection:
        for queue in app.conf.task_queues:
            declared = queue.bind(connection.channel())
            declared.declare()
            assert declared.queue_arguments == {"x-queue-type": "quorum"}
        high = jobs.create("alice", JobSpec(file_ids=(1,), priority=Priority.HIGH)).job
        low = jobs.create("bob", JobSpec(file_ids=(2,), priority=Priority.LOW)).job
        waiting = {"high": 1, "normal": 0, "low": 1}
        wait_until(lambda: dispatcher.queue_lengths() == waiting, "the messages", timeout=10)
        channel = connection.channel()
        for priority, job in (("high", high), ("low", low)):
            message = channel.basic_get(QUEUE_PREFIX + priority, no_ack=True)
            assert message.headers["task"] == "longhaul.download"
            assert job.id in message.headers["argsrepr"]


def test_a_broken_connection_to_the_broker_is_reopened(broker: str, redis: Redis) -> None:
    port = int(broker.rpartition(":")[2].strip("/"))
    with TcpProxy(port) as proxy:
        app = celery_app(broker.replace(str(port), str(proxy.port)))
        dispatcher = Dispatcher(app, same_server=False)
        jobs = JobStore(redis, dispatcher)
        assert dispatcher.queue_lengths() is not None
        proxy.refuse()
        jobs.create("carol", JobSpec(file_ids=(3,)))
        assert dispatcher.queue_lengths() is None
        proxy.restore()
        wait_until(lambda: dispatcher.queue_lengths() is not None, "the broker", timeout=10)
        before = (dispatcher.queue_lengths() or {})["normal"]
        jobs.create("dave", JobSpec(file_ids=(4,)))
        wait_until(
            lambda: (dispatcher.queue_lengths() or {}).get("normal") == before + 1, "the message"
        )


def test_no_job_is_lost_while_the_broker_is_unavailable(valkey: Valkey, redis: Redis) -> None:
    dispatcher = Dispatcher(celery_app("amqp://guest:guest@127.0.0.1:1//"), same_server=False)
    job = JobStore(redis, dispatcher).create("alice", JobSpec(file_ids=(1,))).job
    assert job.version == 1
    assert dispatcher.queue_lengths() is None
