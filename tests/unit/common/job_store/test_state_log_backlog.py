"""How far the readers of the state log are behind."""

from __future__ import annotations

import time

from redis import Redis

from common.job_store import keys
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog
from common.job_store.state_log_backlog import Backlog, read_backlogs
from common.jobs.model import JobSpec

USERS = ("alice", "bob", "carol")


def create_jobs(jobs: JobStore) -> None:
    for user in USERS:
        jobs.create(user, JobSpec(file_ids=(1,)))


def test_an_empty_log_has_no_backlog(redis: Redis) -> None:
    assert read_backlogs(redis, ["history"]) == {"history": Backlog()}
    assert read_backlogs(redis) == {}


def test_entries_count_until_they_are_acknowledged(redis: Redis, jobs: JobStore) -> None:
    history = StateLog(redis, "history", "h")
    history.create_group()
    create_jobs(jobs)
    assert read_backlogs(redis)["history"].entries == len(USERS)
    entries = history.read(count=10)
    assert read_backlogs(redis)["history"].entries == len(USERS)
    history.ack(entries)
    assert read_backlogs(redis) == {"history": Backlog()}


def test_the_age_is_that_of_the_oldest_entry_read_or_not(redis: Redis, jobs: JobStore) -> None:
    history = StateLog(redis, "history", "h")
    history.create_group()
    stream = keys.of_partition("state_log", keys.tag_of_user("alice"))
    redis.xadd(stream, {"job": "{}"}, id=f"{round((time.time() - 600) * 1000)}-0")
    jobs.create("alice", JobSpec(file_ids=(1,)))
    assert 599 < read_backlogs(redis)["history"].seconds < 660
    redis.xreadgroup("history", "h", {stream: ">"})
    assert 599 < read_backlogs(redis)["history"].seconds < 660


def test_a_lost_group_has_everything_before_it(redis: Redis, jobs: JobStore) -> None:
    history = StateLog(redis, "history", "h")
    history.create_group()
    create_jobs(jobs)
    history.ack(history.read(count=10))
    for tag in keys.all_tags():
        redis.xgroup_destroy(keys.of_partition("state_log", tag), "history")
    backlog = read_backlogs(redis, ["history", "webhooks"])
    assert {name: each.entries for name, each in backlog.items()} == {
        "history": len(USERS),
        "webhooks": len(USERS),
    }
