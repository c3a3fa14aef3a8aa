"""A wake-up that a script pushes is, for Celery, one that Celery sent."""

from __future__ import annotations

from typing import Any

from kombu import Connection
from redis import Redis

from common.celery_app import DOWNLOAD_TASK, celery_app
from common.job_store.jobs import JobStore
from common.jobs.model import PRIORITIES, JobSpec, WakeUp
from common.wake_ups import Dispatcher
from stack.services import Valkey


def received(url: str, queue: str) -> Any:
    """The next message of a queue as a Celery worker's consumer sees it."""
    with Connection(url) as connection:
        message = connection.SimpleQueue(queue).get(timeout=2)
        message.ack()
        return message


def test_the_scripts_message_is_read_like_one_that_celery_sent(
    valkey: Valkey, redis: Redis
) -> None:
    app = celery_app(valkey.url)
    jobs = JobStore(redis, Dispatcher(app, same_server=True))
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    ours = received(valkey.url, "longhaul.normal")

    sent = WakeUp(job_id=job.id, priority="normal", sent=job.created_at)
    Dispatcher(app, same_server=False).send([sent])
    celerys = received(valkey.url, "longhaul.normal")

    assert celerys.payload[0] == [job.id, "normal", job.created_at]
    # In the script's it is text, which the task takes as well.
    assert ours.payload[0] == [job.id, "normal", str(job.created_at)]
    assert ours.headers["task"] == celerys.headers["task"] == DOWNLOAD_TASK
    assert ours.content_type == celerys.content_type
    assert ours.content_encoding == celerys.content_encoding
    assert ours.delivery_info["routing_key"] == "longhaul.normal"
    assert set(ours.headers) <= set(celerys.headers)
    # What a worker reads without a default (celery/worker/strategy.py, celery/worker/request.py).
    assert ours.headers["id"]
    assert ours.properties["delivery_tag"]


def test_nothing_is_noted_of_a_message_that_a_worker_has_in_hand(
    valkey: Valkey, redis: Redis
) -> None:
    app = celery_app(valkey.url)
    JobStore(redis, Dispatcher(app, same_server=True)).create("alice", JobSpec(file_ids=(1,)))
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("longhaul.normal").get(timeout=2)
        assert not redis.keys("unacked*")
        message.ack()
    assert redis.llen("longhaul.normal") == 0


def test_a_message_that_celery_sends_goes_to_its_lane_only(valkey: Valkey, redis: Redis) -> None:
    dispatcher = Dispatcher(celery_app(valkey.url), same_server=False)
    dispatcher.send([WakeUp(job_id="some-job", priority="high", sent=0)])
    assert dispatcher.waiting() == {"high": 1, "normal": 0, "low": 0}


def test_the_dispatcher_counts_the_messages_of_each_lane(valkey: Valkey, redis: Redis) -> None:
    app = celery_app(valkey.url)
    dispatcher = Dispatcher(app, same_server=True)
    assert dispatcher.waiting() == dict.fromkeys(PRIORITIES, 0)
    JobStore(redis, dispatcher).create("alice", JobSpec(file_ids=(1,)))
    assert dispatcher.waiting() == {"high": 0, "normal": 1, "low": 0}
