"""Celery reads a wake-up that a script pushed like one that Celery sent."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.connection import Connection
from redis import Redis

from common.celery_app import DOWNLOAD_TASK, celery_app
from common.job_store.jobs import JobStore
from common.jobs.model import PRIORITIES, JobSpec, WakeUp
from common.wake_ups import Dispatcher
from stack.services import Valkey


def received(url: str, queue: str) -> Any:
    """Return the next message of a queue as the consumer of a Celery worker gets it."""
    with Connection(url) as connection:
        message = connection.SimpleQueue(queue).get(timeout=2)
        message.ack()
        return message


def test_the_message_of_a_script_is_read_like_one_of_celery(valkey: Valkey, redis: Redis) -> None:
    app = celery_app(valkey.url)
    jobs = JobStore(redis, Dispatcher(app, same_server=True))
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    ours = received(valkey.url, "longhaul.normal")

    sent = WakeUp(job_id=job.id, priority="normal", sent=job.created_at)
    Dispatcher(app, same_server=False).send([sent])
    celerys = received(valkey.url, "longhaul.normal")

    assert celerys.payload[0] == [job.id, "normal", job.created_at]
    # The script sends it as a string, which the task accepts, too.
    assert ours.payload[0] == [job.id, "normal", str(job.created_at)]
    assert ours.headers["task"] == celerys.headers["task"] == DOWNLOAD_TASK
    assert ours.content_type == celerys.content_type
    assert ours.content_encoding == celerys.content_encoding
    assert ours.delivery_info["routing_key"] == "longhaul.normal"
    assert set(ours.headers) <= set(celerys.headers)
    # Celery reads these without a default (celery/worker/strategy.py and request.py).
    assert ours.headers["id"]
    assert ours.properties["delivery_tag"]


def test_kombu_stores_nothing_about_a_message_that_a_worker_has_read(
    valkey: Valkey, redis: Redis
) -> None:
    app = celery_app(valkey.url)
    JobStore(redis, Dispatcher(app, same_server=True)).create("alice", JobSpec(file_ids=(1,)))
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("longhaul.normal").get(timeout=2)
        assert not redis.keys("unacked*")
        message.ack()
    assert redis.llen("longhaul.normal") == 0


def test_a_message_of_celery_goes_only_to_the_queue_of_its_priority(
    valkey: Valkey, redis: Redis
) -> None:
    dispatcher = Dispatcher(celery_app(valkey.url), same_server=False)
    dispatcher.send([WakeUp(job_id="some-job", priority="high", sent=0)])
    assert dispatcher.queue_lengths() == {"high": 1, "normal": 0, "low": 0}


def test_the_dispatcher_counts_the_messages_of_each_priority(valkey: Valkey, redis: Redis) -> None:
    app = celery_app(valkey.url)
    dispatcher = Dispatcher(app, same_server=True)
    assert dispatcher.queue_lengths() == dict.fromkeys(PRIORITIES, 0)
    JobStore(redis, dispatcher).create("alice", JobSpec(file_ids=(1,)))
    assert dispatcher.queue_lengths() == {"high": 0, "normal": 1, "low": 0}


def test_an_unexpected_error_of_kombu_does_not_fail_the_request(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry on a channel that kombu has closed meanwhile raises an AttributeError."""
    app = celery_app(valkey.url)

    def fail(*_: object, **__: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'client'")

    monkeypatch.setattr(app, "send_task", fail)
    Dispatcher(app, same_server=False).send([WakeUp(job_id="1", priority="normal", sent=1)])
