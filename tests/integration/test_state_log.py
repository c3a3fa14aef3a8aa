"""Every group of the state log reads every state change at least once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from common.celery_app import celery_app
from common.job_store import keys
from common.job_store import state_log as state_log_module
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog, delete_idle_consumers, trim
from common.jobs.model import JobSpec
from common.jobs.transitions import JobState
from common.wake_ups import Dispatcher
from stack.services import Valkey


@pytest.fixture
def jobs(valkey: Valkey, redis: Redis) -> JobStore:
    return JobStore(redis, Dispatcher(celery_app(valkey.url), same_server=True))


def changes(state_log: StateLog) -> list[tuple[str, JobState]]:
    return [(entry.job.user, entry.job.status) for entry in state_log.read(count=10)]


def test_every_group_reads_every_change(jobs: JobStore, redis: Redis) -> None:
    hooks, history = StateLog(redis, "hooks", "a"), StateLog(redis, "history", "a")
    hooks.create_group()
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    jobs.cancel(job.id)
    history.create_group()
    expected = [("alice", JobState.QUEUED), ("alice", JobState.CANCELLED)]
    assert changes(hooks) == changes(history) == expected
    assert changes(hooks) == []


def test_entries_that_a_dead_consumer_did_not_acknowledge_can_be_claimed(
    jobs: JobStore, redis: Redis
) -> None:
    dead, alive = StateLog(redis, "hooks", "dead"), StateLog(redis, "hooks", "alive")
    dead.create_group()
    jobs.create("alice", JobSpec(file_ids=(1,)))
    assert len(dead.read(count=10)) == 1
    taken = alive.claim_idle(idle_ms=0, count=10)
    assert [entry.job.user for entry in taken] == ["alice"]
    alive.ack(taken)
    assert alive.claim_idle(idle_ms=0, count=10) == []


def test_a_group_is_created_again_after_the_store_was_emptied(jobs: JobStore, redis: Redis) -> None:
    reader, other = StateLog(redis, "hooks", "a"), StateLog(redis, "hooks", "b")
    reader.create_group()
    redis.flushall()
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    assert changes(reader) == [("alice", JobState.QUEUED)]
    jobs.cancel(job.id)
    redis.flushall()
    assert other.claim_idle(idle_ms=0, count=10) == []
    jobs.create("bob", JobSpec(file_ids=(1,)))
    assert changes(other) == [("bob", JobState.QUEUED)]


def test_a_group_that_is_missing_in_one_partition_loses_nothing_of_the_others(
    jobs: JobStore, redis: Redis
) -> None:
    reader, dead = StateLog(redis, "hooks", "a"), StateLog(redis, "hooks", "dead")
    dead.create_group()
    users = {f"user-{number}" for number in range(30)}
    for user in users:
        jobs.create(user, JobSpec(file_ids=(1,)))
    assert len(dead.read(count=100)) == 30
    stream = keys.of_partition("state_log", keys.all_tags()[8])
    lost = redis.xlen(stream)
    redis.xgroup_destroy(stream, "hooks")
    found = reader.claim_idle(idle_ms=0, count=100) + reader.read(count=100)
    assert lost > 0
    assert {entry.job.user for entry in found} == users


def test_a_store_that_is_emptied_while_the_groups_are_created_is_no_error(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = StateLog(redis, "hooks", "a")
    create_group = reader.create_group

    def empty_afterwards() -> None:
        create_group()
        redis.flushall()
        jobs.create("alice", JobSpec(file_ids=(1,)))
        monkeypatch.setattr(reader, "create_group", create_group)

    monkeypatch.setattr(reader, "create_group", empty_afterwards)
    assert changes(reader) == [("alice", JobState.QUEUED)]


@pytest.mark.parametrize("clean", [trim, delete_idle_consumers])
@pytest.mark.parametrize("command", [
    "MEMORY USAGE", "XINFO GROUPS", "XPENDING", "XTRIM", "XINFO CONSUMERS", "XGROUP DELCONSUMER",
])  # fmt: skip
def test_a_store_that_is_emptied_meanwhile_is_no_error(
    jobs: JobStore,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    clean: Callable[[Redis], object],
    command: str,
) -> None:
    monkeypatch.setattr(state_log_module, "IDLE_AFTER", -1)
    reader, execute = StateLog(redis, "hooks", "a"), redis.execute_command
    reader.create_group()
    jobs.create("alice", JobSpec(file_ids=(1,)))
    reader.ack(reader.read(count=10))

    def empty_before(*words: Any, **options: Any) -> Any:
        if words[0] == command:
            execute("FLUSHALL")
        return execute(*words, **options)

    monkeypatch.setattr(redis, "execute_command", empty_before)
    clean(redis)


def test_trim_keeps_entries_that_the_slowest_group_has_not_acknowledged(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "xtrim", _exact(redis.xtrim))
    fast, slow = StateLog(redis, "fast", "a"), StateLog(redis, "slow", "a")
    fast.create_group()
    slow.create_group()
    stream = keys.of_partition("state_log", keys.tag_of_user("alice"))
    for number in range(3):
        jobs.create("alice", JobSpec(file_ids=(number,)))
    fast.ack(fast.read(count=10))
    trim(redis)
    assert redis.xlen(stream) == 3
    entries = slow.read(count=10)
    slow.ack(entries[:2])
    trim(redis)
    assert redis.xlen(stream) == 1


def test_trim_limits_a_state_log_that_no_group_reads(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "xtrim", _exact(redis.xtrim))
    monkeypatch.setattr(state_log_module, "MAX_ENTRIES_WITHOUT_GROUPS", 2)
    for number in range(5):
        jobs.create("alice", JobSpec(file_ids=(number,)))
    trim(redis)
    assert redis.xlen(keys.of_partition("state_log", keys.tag_of_user("alice"))) == 2


def _exact(xtrim: Any) -> Any:
    """Trim exactly: the approximate form only deletes whole nodes of about 100 entries."""
    return lambda *args, **kwargs: xtrim(*args, **{**kwargs, "approximate": False})
