"""From the end of a job to a signed POST, by any number of workers, even if some of them die."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from redis import Redis
from standardwebhooks import Webhook

from common.celery_app import celery_app
from common.job_store import keys
from common.job_store.deliveries import Deliveries
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog
from common.jobs.model import Job, JobSpec
from common.wake_ups import Dispatcher
from stack.process import wait_until
from stack.services import Valkey
from tests.support.webhook_receiver import Receiver, running
from worker.webhooks import WebhookPoster, WebhookSender, WebhookThread

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as server:
        yield server


@pytest.fixture
def jobs(valkey: Valkey, redis: Redis) -> JobStore:
    return JobStore(redis, Dispatcher(celery_app(valkey.url), same_server=True))


def present(job: Job) -> dict[str, Any]:
    return {"jobId": job.id, "status": job.status, "version": job.version}


def webhook_thread(redis: Redis, name: str = "worker") -> WebhookThread:
    sender = WebhookSender(WebhookPoster(lambda _: True), present=present, secret=" ".join(SECRETS))
    return WebhookThread(StateLog(redis, "webhooks", name), Deliveries(redis), sender)


def cancelled(jobs: JobStore, url: str, user: str = "alice") -> Job:
    job = jobs.create(user, JobSpec(file_ids=(1,), callback_url=url)).job
    return jobs.cancel(job.id)


def test_webhooks_conform_to_standard_webhooks(
    jobs: JobStore, redis: Redis, receiver: Receiver
) -> None:
    job = cancelled(jobs, receiver.url())
    thread = webhook_thread(redis)
    thread.start()
    (post,) = receiver.wait_for(1)
    thread.stop()
    for secret in SECRETS:
        Webhook(secret).verify(post.body, post.headers)
    assert post.headers["webhook-id"] == f"msg_{job.id}_{job.version}"
    payload = orjson.loads(post.body)
    assert payload["type"] == "download.cancelled"
    assert payload["timestamp"].endswith("Z")
    assert payload["data"] == {"jobId": job.id, "status": "cancelled", "version": job.version}
    wait_until(lambda: _state(redis, job) == "delivered", "the log")


def test_a_failed_webhook_is_posted_again_with_the_same_id(
    jobs: JobStore, redis: Redis, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.deliverer.RETRY_DELAYS", (0.01,) * 9)
    receiver.responses = [(500, {}), (302, {"Location": "http://127.0.0.1/"}), (200, {})]
    job = cancelled(jobs, receiver.url())
    thread = webhook_thread(redis)
    thread.start()
    posts = receiver.wait_for(3)
    wait_until(lambda: _state(redis, job) == "delivered", "the log")
    thread.stop()
    assert len({post.headers["webhook-id"] for post in posts}) == 1
    (record,) = Deliveries(redis).of_job(job.id)
    assert [attempt.status for attempt in record.attempts] == [500, 302, 200]


def test_jobs_without_a_callback_url_and_unfinished_jobs_send_no_webhook(
    jobs: JobStore, redis: Redis
) -> None:
    jobs.create("alice", JobSpec(file_ids=(1,), callback_url="https://example.com/"))
    other = jobs.create("bob", JobSpec(file_ids=(2,))).job
    jobs.cancel(other.id)
    webhook_thread(redis).schedule()
    assert Deliveries(redis).claim(limit=100, lease=60) == []


def test_a_receiver_that_hangs_does_not_delay_the_webhooks_of_other_users(
    jobs: JobStore, redis: Redis, receiver: Receiver
) -> None:
    # In the same partition, so that all wait in the same queue.
    partition = keys.partition_of_user("hangs")
    other = next(
        name
        for name in map("user-{}".format, range(1000))
        if keys.partition_of_user(name) == partition
    )
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        for _ in range(30):
            cancelled(jobs, url, user="hangs")
        cancelled(jobs, receiver.url(), user=other)
        thread = webhook_thread(redis)
        thread.start()
        receiver.wait_for(1)
        thread.stop()


def test_a_worker_killed_between_reading_and_scheduling_loses_no_webhook(
    jobs: JobStore, redis: Redis, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = StateLog(redis, "webhooks", "dead")
    dead.create_group()
    cancelled(jobs, receiver.url())
    assert len(dead.read(count=10)) == 2
    monkeypatch.setattr("worker.webhooks.thread.TAKE_OVER_AFTER", 0.0)
    thread = webhook_thread(redis, "alive")
    thread.schedule()
    thread.deliver()
    receiver.wait_for(1)
    thread.stop()


def test_webhooks_go_on_after_the_store_was_emptied(
    jobs: JobStore, redis: Redis, receiver: Receiver
) -> None:
    thread = webhook_thread(redis)
    thread.start()
    cancelled(jobs, receiver.url())
    receiver.wait_for(1)
    redis.flushall()
    cancelled(jobs, receiver.url())
    receiver.wait_for(2)
    thread.stop()


def test_many_workers_deliver_each_webhook_once(
    jobs: JobStore, redis: Redis, receiver: Receiver
) -> None:
    ended = [cancelled(jobs, receiver.url(), user=f"user-{number}") for number in range(40)]
    threads = [webhook_thread(redis, f"worker-{number}") for number in range(3)]
    for thread in threads:
        thread.start()
    receiver.wait_for(40)
    wait_until(lambda: all(_state(redis, job) == "delivered" for job in ended), "the log")
    for thread in threads:
        thread.stop()
    ids = [post.headers["webhook-id"] for post in receiver.posts]
    assert sorted(ids) == sorted(f"msg_{job.id}_{job.version}" for job in ended)
    due = [keys.of_partition("deliveries_due", tag) for tag in keys.all_tags()]
    assert redis.exists(*due) == 0


def _state(redis: Redis, job: Job) -> str | None:
    records = Deliveries(redis).of_job(job.id)
    return records[0].state if records else None
