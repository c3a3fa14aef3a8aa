"""The thread that extends leases and registers its process."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from common.errors import LeaseLost
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.model import JobSpec, Lease
from stack.process import wait_until
from worker.attempt.control import AttemptControl
from worker.attempt.heartbeat import HeartbeatThread

JOB_IDS = (keys.new_job_id("alice"), keys.new_job_id("bob"))


def test_the_first_heartbeat_is_sent_immediately(jobs: JobStore) -> None:
    sent = threading.Event()
    heartbeat = HeartbeatThread(jobs, interval=3600, on_heartbeat=sent.set)
    heartbeat.start()
    assert sent.wait(5)
    heartbeat.stop()


def test_an_unexpected_error_does_not_end_the_heartbeats(jobs: JobStore) -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise ValueError

    heartbeat = HeartbeatThread(jobs, interval=0.01, on_heartbeat=fail)
    heartbeat.start()
    wait_until(lambda: calls >= 3, "the third heartbeat", 5)
    heartbeat.stop()


def test_the_error_of_one_attempt_does_not_skip_the_heartbeats_of_others(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = [
        jobs.claim(jobs.create(user, JobSpec(file_ids=(1,))).job.id, "worker")
        for user in ("alice", "bob", "carol")
    ]
    sent: set[str] = set()

    def heartbeat_of(lease: object, *_: object) -> str:
        if lease is leases[0]:
            raise ValueError
        sent.add(lease.job_id)  # type: ignore[attr-defined]
        return "CONTINUE"

    leases = [claim.lease for claim in claims if claim]
    monkeypatch.setattr(jobs, "heartbeat", heartbeat_of)
    heartbeat = HeartbeatThread(jobs, interval=0.01, on_heartbeat=lambda: None)
    with ExitStack() as stack:
        for lease in leases:
            stack.enter_context(heartbeat.keep_lease(lease, AttemptControl(deadline=60)))
        heartbeat.start()
        wait_until(lambda: len(sent) == 2, "both other heartbeats", 5)
    heartbeat.stop()


def test_the_process_exits_when_its_heartbeat_thread_ends(jobs: JobStore) -> None:
    dead = threading.Event()

    def end() -> None:
        raise SystemExit

    HeartbeatThread(jobs, interval=3600, on_heartbeat=end, on_death=dead.set).start()
    assert dead.wait(5)


def test_leases_are_extended_although_the_registry_cannot_be_reached(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RedisConnectionError("max number of clients reached")

    sent: list[str] = []
    monkeypatch.setattr(jobs, "heartbeat", lambda lease, *_: sent.append(lease.job_id))
    heartbeat = HeartbeatThread(jobs, interval=0.01, on_heartbeat=fail)
    with ExitStack() as stack:
        for job_id in JOB_IDS:
            lease = Lease(job_id=job_id, fencing_token=1)
            stack.enter_context(heartbeat.keep_lease(lease, AttemptControl(deadline=60)))
        heartbeat.step()
    assert sent == list(JOB_IDS)


def test_a_round_ends_with_the_first_lease_that_an_outage_prevents(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def fail(lease: Lease, *_: object) -> str:
        sent.append(lease.job_id)
        raise RedisConnectionError("gone")

    monkeypatch.setattr(jobs, "heartbeat", fail)
    heartbeat = HeartbeatThread(jobs, interval=0.01, on_heartbeat=lambda: None)
    with ExitStack() as stack:
        for job_id in JOB_IDS:
            lease = Lease(job_id=job_id, fencing_token=1)
            stack.enter_context(heartbeat.keep_lease(lease, AttemptControl(deadline=60)))
        heartbeat.step()
    assert sent == [JOB_IDS[0]]


def test_leases_on_other_nodes_are_extended_although_one_node_is_unavailable(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def heartbeat_of(lease: Lease, *_: object) -> str:
        sent.append(lease.job_id)
        if lease.job_id.startswith("dead"):
            raise RedisConnectionError("gone")
        return "CONTINUE"

    monkeypatch.setattr(jobs, "heartbeat", heartbeat_of)
    monkeypatch.setattr(jobs, "server_of", lambda job_id: job_id.partition(":")[0])
    heartbeat = HeartbeatThread(jobs, interval=0.01, on_heartbeat=lambda: None)
    with ExitStack() as stack:
        for job_id in ("dead:1", "alive:1", "dead:2", "alive:2"):
            lease = Lease(job_id=job_id, fencing_token=1)
            stack.enter_context(heartbeat.keep_lease(lease, AttemptControl(deadline=60)))
        heartbeat.step()
    assert sent == ["dead:1", "alive:1", "alive:2"]


def test_the_end_of_an_attempt_does_not_end_the_heartbeats_of_the_next_one_of_its_job(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both run at the same time if this process claims a job again that it has returned, or lost
    # while it was frozen.
    sent: list[int] = []

    def heartbeat_of(lease: Lease, *_: object) -> str:
        sent.append(lease.fencing_token)
        return "LOST" if lease is first else "CONTINUE"

    monkeypatch.setattr(jobs, "heartbeat", heartbeat_of)
    heartbeat = HeartbeatThread(jobs, interval=0.01, on_heartbeat=lambda: None)
    first, second = (Lease(job_id=JOB_IDS[0], fencing_token=token) for token in (1, 2))
    control = AttemptControl(deadline=60)
    with heartbeat.keep_lease(first, control), ExitStack() as later:
        later.enter_context(heartbeat.keep_lease(second, AttemptControl(deadline=60)))
        heartbeat.step()
        assert sent == [1, 2]
        assert heartbeat.running_jobs() == (JOB_IDS[0],)
        with pytest.raises(LeaseLost):
            control.check()
        second_attempt = later.pop_all()
    with second_attempt:
        heartbeat.step()
        assert sent == [1, 2, 2]
        assert heartbeat.running_jobs() == (JOB_IDS[0],)
    assert heartbeat.running_jobs() == ()
