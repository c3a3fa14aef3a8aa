"""What finished jobs leave in the store: every key expires, except for a few per partition."""

from __future__ import annotations

import re

from redis import Redis

from common.celery_app import celery_app
from common.job_store.jobs import CreationRate, JobStore
from common.job_store.queries import JobQueries
from common.jobs.model import Artifact, Failure, JobSpec, Progress
from common.wake_ups import Dispatcher
from stack.services import Valkey

ARTIFACT = Artifact(bucket="b", key="k", name="n", size=1, content_type="t")
FAILURE = Failure(code="NETWORK_ERROR", message="The connection broke", retryable=True)
#: Bounded by the number of partitions. Sweeps and cleanups remove the members of the sorted sets.
PER_PARTITION = {"jobs:totals", "jobs:journal", "jobs:expiring", "jobs:dead"}


def lasting(redis: Redis) -> set[str]:
    """Return the kinds of the keys that never expire."""
    return {
        re.sub(r":{p\d\d}.*", "", key) for key in redis.scan_iter(count=1000) if redis.ttl(key) < 0
    }


def test_every_key_of_finished_jobs_and_their_users_expires(valkey: Valkey, redis: Redis) -> None:
    jobs = JobStore(redis, Dispatcher(celery_app(valkey.url), same_server=True))
    for number in range(300):
        job = jobs.create(
            f"user-{number % 100}",
            JobSpec(file_ids=(number,)),
            idempotency_key=str(number),
            rate=CreationRate(minute=1, limit=1000),
        ).job
        if number % 3 == 0:
            jobs.cancel(job.id)
            continue
        claim = jobs.claim(job.id, "worker")
        assert claim is not None
        if number % 3 == 1:
            jobs.complete(claim.lease, ARTIFACT, Progress())
        else:
            jobs.fail(claim.lease, FAILURE)
    for queue in redis.scan_iter("longhaul.*"):
        redis.delete(queue)  # Wake-ups that no worker has read.
    assert lasting(redis) <= PER_PARTITION


def test_the_list_of_a_user_with_an_unfinished_job_does_not_expire(
    valkey: Valkey, redis: Redis
) -> None:
    jobs = JobStore(redis, Dispatcher(celery_app(valkey.url), same_server=True))
    first = jobs.create("alice", JobSpec(file_ids=(1,))).job
    second = jobs.create("alice", JobSpec(file_ids=(2,))).job
    jobs.cancel(first.id)
    assert "user:jobs" in lasting(redis)
    jobs.cancel(second.id)
    assert "user:jobs" not in lasting(redis)
    third = jobs.create("alice", JobSpec(file_ids=(3,))).job
    assert "user:jobs" in lasting(redis)
    assert JobQueries(redis).get(third.id).version == 1
